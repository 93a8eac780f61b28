// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Holds pods to the standards that the labels of their namespace name, and warns where templates would break them.
struct PodSecurityAdmission: AdmissionPlugin {
    let objects: AdmissionObjects

    /// Parts of a pod whose writing says nothing about what it may do.
    private static let harmless: Set<String> = ["status", "binding", "eviction"]
    /// So many pods of a namespace are looked at when its level rises.
    private static let inspected = 3000

    /// Where each kind keeps the template of its pods.
    private static let templates: [GroupVersionResource: [String]] = [
        GroupVersionResource("", "v1", "replicationcontrollers"): ["spec", "template"],
        GroupVersionResource("", "v1", "podtemplates"): ["template"],
        .replicaSets: ["spec", "template"], .deployments: ["spec", "template"], .daemonSets: ["spec", "template"],
        GroupVersionResource("apps", "v1", "statefulsets"): ["spec", "template"],
        GroupVersionResource("batch", "v1", "jobs"): ["spec", "template"],
        GroupVersionResource("batch", "v1", "cronjobs"): ["spec", "jobTemplate", "spec", "template"],
    ]

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.operation != .delete else { return }
        switch review.type.storage {
        case .namespaces: if review.subresource.isEmpty { try namespace(&review) }
        case .pods: if !Self.harmless.contains(review.subresource) { try pod(&review) }
        case let resource:
            guard review.subresource.isEmpty, let path = Self.templates[resource] else { return }
            template(&review, path)
        }
    }

    private func policy(_ review: AdmissionReview) -> PodSecurityPolicy? {
        PodSecurityPolicy(labels: objects.labels(ofNamespace: review.object.namespace ?? ""))
    }

    private func pod(_ review: inout AdmissionReview) throws(StatusError) {
        guard let policy = policy(review) else { return }
        if let old = review.old, review.operation == .update, !Self.isSignificant(review.object, old) { return }
        func violations(_ standard: PodSecurityStandard) -> [PodSecurityViolation] {
            PodSecurity.violations(standard, annotations: review.object.annotations, spec: review.object["spec"])
        }
        let refused = violations(policy.enforce)
        guard refused.isEmpty else {
            throw review.forbidden("violates PodSecurity \"\(policy.enforce)\": \(PodSecurity.details(refused))")
        }
        warn(&review, policy.warn, violations(policy.warn))
    }

    private func template(_ review: inout AdmissionReview, _ path: [String]) {
        guard let policy = policy(review), policy.warn.level != .privileged else { return }
        var template: JSON? = review.object.json
        for step in path { template = template[step] }
        guard template.object != nil else { return }
        let violations = PodSecurity.violations(
            policy.warn, annotations: template["metadata"]["annotations"].object?.strings ?? [:], spec: template["spec"]
        )
        warn(&review, policy.warn, violations)
    }

    private func warn(
        _ review: inout AdmissionReview, _ standard: PodSecurityStandard, _ violations: [PodSecurityViolation]
    ) {
        guard !violations.isEmpty else { return }
        review.warnings.append("would violate PodSecurity \"\(standard)\": \(PodSecurity.details(violations))")
    }

    /// Whether an update touches what the checks look at.
    private static func isSignificant(_ pod: KubeObject, _ old: KubeObject) -> Bool {
        func relevant(_ pod: KubeObject) -> JSON? {
            var spec = pod["spec"]
            for field in ["tolerations", "activeDeadlineSeconds", "schedulingGates", "nodeSelector", "nodeName"] {
                spec[field] = nil
            }
            return spec
        }
        return relevant(pod) != relevant(old) || pod.annotations != old.annotations
    }

    // MARK: Namespaces

    private func namespace(_ review: inout AdmissionReview) throws(StatusError) {
        let new = PodSecurityPolicy(labels: review.object.labels)
        let old = review.operation == .update ? PodSecurityPolicy(labels: review.old?.labels ?? [:]) : nil
        // What was wrong before need not be put right with every change.
        if let errors = new?.errors, !errors.isEmpty, errors != old?.errors {
            throw .invalid(review.type, name: review.object.name, errors)
        }
        guard review.operation == .update, let enforce = new?.enforce, enforce.level != .privileged else { return }
        let before = old?.enforce ?? PodSecurityStandard(.privileged)
        if enforce == before || (enforce.minor == before.minor && enforce.level <= before.level) { return }
        review.warnings += warnings(ofNamespace: review.object.name, enforce)
    }

    /// The pods that are there already and would not be made again.
    private func warnings(ofNamespace name: String, _ standard: PodSecurityStandard) -> [String] {
        let pods = objects.mirror.list(StorageKey(.pods), namespace: name).objects
        var found: [String: (pod: String, count: Int)] = [:]
        for stored in pods.prefix(Self.inspected) {
            let pod = stored.object()
            let violations = PodSecurity.violations(standard, annotations: pod.annotations, spec: pod["spec"])
            guard !violations.isEmpty else { continue }
            found[PodSecurity.reasons(violations), default: (pod.name, 0)].count += 1
        }
        var warnings: [String] = []
        if pods.count > Self.inspected {
            warnings.append(
                "new PodSecurity enforce level only checked against the first \(Self.inspected) of \(pods.count) existing "
                    + "pods")
        }
        guard !found.isEmpty else { return warnings }
        warnings.append(
            "existing pods in namespace \"\(name)\" violate the new PodSecurity enforce level \"\(standard)\"")
        return warnings
            + found.map { reasons, pods in
                switch pods.count {
                case 1: "\(pods.pod): \(reasons)"
                case 2: "\(pods.pod) (and 1 other pod): \(reasons)"
                case let count: "\(pods.pod) (and \(count - 1) other pods): \(reasons)"
                }
            }.sorted()
    }
}
