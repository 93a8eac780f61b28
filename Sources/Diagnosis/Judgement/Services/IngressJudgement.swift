// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Ingresses that nobody serves, or that name what is not there.
struct IngressJudgement {
    private let cluster: ClusterSnapshot
    private let services: [ObjectKey: KubeObject]
    private let secrets: [ObjectKey: KubeObject]

    init(_ cluster: ClusterSnapshot) {
        self.cluster = cluster
        services = Dictionary(cluster[.services].map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        secrets = Dictionary(cluster[.secrets].map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func findings() -> [Finding] {
        cluster[.ingresses].filter { !$0.isBeingDeleted }.flatMap { ingress in
            [controller(ingress)].compactMap { $0 } + certificates(ingress) + backends(ingress)
        }
    }

    private func controller(_ ingress: KubeObject) -> Finding? {
        guard cluster.unseen[.ingressClasses] == nil else { return nil }
        let classes = cluster[.ingressClasses]
        let object = "ingress \(ingress.key)"
        let wanted = ingress["spec"]["ingressClassName"].string ?? ingress.annotations["kubernetes.io/ingress.class"]
        if let wanted, !classes.contains(where: { $0.name == wanted }) {
            let meant = NearestLabels.nearestName(to: wanted, among: classes.map(\.name)) ?? classes.first?.name
            return Finding(
                "NoIngressController", object: object, problem: "has no controller: nobody serves it",
                cause: "there is no IngressClass \(wanted)"
                    + (classes.isEmpty
                        ? ": no ingress controller is installed"
                        : "; there is \(classes.map(\.name).sorted().joined(separator: ", "))"),
                nextStep: meant.map {
                    "kubectl patch ingress \(ingress.name)\(ingress.inNamespace) -p "
                        + "'{\"spec\":{\"ingressClassName\":\"\($0)\"}}'"
                } ?? "kubectl get ingressclasses; install an ingress controller, or use a Service of type LoadBalancer")
        }
        let isDefault = classes.contains { $0.annotations["ingressclass.kubernetes.io/is-default-class"] == "true" }
        guard wanted == nil, !isDefault else { return nil }
        return Finding(
            "NoIngressController", object: object, problem: "has no controller: nobody serves it",
            cause: classes.isEmpty
                ? "it names no IngressClass, and no ingress controller is installed"
                : "it names no IngressClass, and none is the default",
            nextStep: classes.first.map {
                "kubectl patch ingress \(ingress.name)\(ingress.inNamespace) -p "
                    + "'{\"spec\":{\"ingressClassName\":\"\($0.name)\"}}'"
            } ?? "kubectl get ingressclasses; install an ingress controller, or use a Service of type LoadBalancer")
    }

    private func certificates(_ ingress: KubeObject) -> [Finding] {
        (ingress["spec"]["tls"].array ?? []).compactMap { entry in
            guard let name = entry["secretName"].string, cluster.unseen[.secrets] == nil else { return nil }
            let object = "ingress \(ingress.key)"
            let make = "kubectl create secret tls \(name)\(ingress.inNamespace) --cert=FILE --key=FILE"
            guard let secret = secrets[ObjectKey(ingress.namespace, name)] else {
                return Finding(
                    "MissingIngressSecret", object: object, problem: "has no certificate",
                    cause: "its secret \(name) does not exist", nextStep: make)
            }
            guard secret["data"]["tls.crt"].string == nil || secret["data"]["tls.key"].string == nil else { return nil }
            return Finding(
                "MissingIngressSecret", object: object, problem: "has no certificate",
                cause: "its secret \(name) (\(secret["type"].string ?? "Opaque")) has no tls.crt and tls.key",
                nextStep: "kubectl delete secret \(name)\(ingress.inNamespace) && \(make)")
        }
    }

    private func backends(_ ingress: KubeObject) -> [Finding] {
        var seen: Set<String> = []
        var result: [Finding] = []
        let rules = ingress["spec"]["rules"].array ?? []
        let paths = rules.enumerated().flatMap { rule, value in
            (value["http"]["paths"].array ?? []).enumerated().map {
                ("/spec/rules/\(rule)/http/paths/\($0.offset)/backend", $0.element["backend"]["service"])
            }
        }
        for (path, backend) in [("/spec/defaultBackend", ingress["spec"]["defaultBackend"]["service"])] + paths {
            guard let name = backend["name"].string else { continue }
            let port = backend["port"]["name"].string ?? backend["port"]["number"].int.map { "\($0)" } ?? ""
            guard seen.insert("\(name):\(port)").inserted else { continue }
            if let finding = self.backend(ingress, path, name, backend["port"]) { result.append(finding) }
        }
        return result
    }

    private func backend(_ ingress: KubeObject, _ path: String, _ name: String, _ port: JSON?) -> Finding? {
        let object = "ingress \(ingress.key)"
        guard let service = services[ObjectKey(ingress.namespace, name)] else {
            let others = services.keys.filter { $0.namespace == ingress.namespace }.map(\.name).sorted()
            let meant = NearestLabels.nearestName(to: name, among: others)
            return Finding(
                "MissingIngressService", object: object, problem: "leads to a Service that is not there",
                cause: "there is no Service \(name) in its namespace" + (meant.map { "; nearest is \($0)" } ?? ""),
                nextStep: meant.map { change(ingress, "\(path)/service/name", JSON($0)) }
                    ?? "kubectl get services\(ingress.inNamespace)")
        }
        let ports = service["spec"]["ports"].array ?? []
        let isThere = ports.contains { candidate in
            port["name"].string.map { candidate["name"].string == $0 } ?? (candidate["port"].int == port["number"].int)
        }
        guard !isThere else { return nil }
        let text = port["name"].string ?? port["number"].int.map { "\($0)" } ?? ""
        let all = ports.compactMap { $0["port"].int }
        return Finding(
            "MissingIngressPort", object: object, problem: "leads to a port that its Service does not have",
            cause: "service \(name) has no port \(text); it has \(all.map { "\($0)" }.joined(separator: ", "))",
            nextStep: all.count == 1
                ? change(ingress, "\(path)/service/port", ["number": JSON(all[0])])
                : "kubectl edit ingress \(ingress.name)\(ingress.inNamespace)")
    }

    private func change(_ ingress: KubeObject, _ path: String, _ value: JSON) -> String {
        let patch: JSON = [["op": "replace", "path": JSON(path), "value": value]]
        return "kubectl patch ingress \(ingress.name)\(ingress.inNamespace) --type=json -p \(patch.text().shellQuoted)"
    }
}
