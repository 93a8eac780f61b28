// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import NIOHTTP1
import Values

/// Where a pod's node answers, and what it is asked.
struct KubeletTarget: Sendable {
    var host: String
    var port: Int
    var target: String
}

extension APIServer {
    /// exec, attach and port-forward: the connection is passed on to the node, byte by byte.
    func stream(_ context: RequestContext) async throws -> Reply {
        let target = try kubeletTarget(context)
        guard let upgrade = context.request.header("upgrade") else {
            throw StatusError.badRequest("Upgrade request required")
        }
        var headers: [(String, String)] = [("Connection", "Upgrade"), ("Upgrade", upgrade)]
        for (name, value) in context.request.headers {
            let lower = name.lowercased()
            if lower.hasPrefix("sec-websocket-") || lower == "x-stream-protocol-version" {
                headers.append((name, value))
            }
        }
        let answer = try await connect(target, method: context.request.method, headers)
        guard answer.status == 101, let kubelet = answer.connection else {
            throw Self.refusal(answer.status, answer.bodyIfRefused)
        }
        var passed: [(name: String, value: String)] = []
        for header in answer.headers {
            let lower = header.name.lowercased()
            if lower != "content-length", lower != "date" { passed.append((header.name, header.value)) }
        }
        return Reply(
            status: 101, headers: passed,
            body: .upgrade { client in await UpgradedConnection.splice(client, kubelet) })
    }

    private func connect(
        _ target: KubeletTarget, method: String, _ headers: [(String, String)]
    ) async throws(StatusError) -> HTTPUpgradeResult {
        do {
            return try await HTTPUpgrade.connect(
                host: target.host, port: target.port, tls: kubeletTLS, method: method, target: target.target,
                headers: HTTPHeaders(headers))
        } catch {
            throw StatusError(
                500, "InternalError", "error dialing backend: kubelet at \(target.host):\(target.port): \(error)",
                details: .object([:]))
        }
    }

    /// What the node said, as a Status.
    static func refusal(_ status: Int, _ body: [UInt8]) -> StatusError {
        if let json = try? JSON(parsing: body), json["kind"].string == "Status" {
            return StatusError(
                json["code"].int ?? status, json["reason"].string ?? "", json["message"].string ?? "",
                details: json["details"])
        }
        let text = String(decoding: body.prefix(2000), as: UTF8.self)
        let code = (400..<600).contains(status) ? status : 502
        return StatusError(
            code, code == 400 ? "BadRequest" : "InternalError", text.isEmpty ? "the kubelet answered \(status)" : text)
    }

    // MARK: Targets

    /// The path on the kubelet for a subresource of a pod.
    func kubeletTarget(_ context: RequestContext) throws -> KubeletTarget {
        let pod = try current(context).object()
        let node = pod["spec"]["nodeName"].string ?? ""
        guard !node.isEmpty else {
            throw StatusError.badRequest("pod \(pod.name) does not have a host assigned")
        }
        let (host, port) = try kubeletPlace(node)
        let place = "\(pod.namespace ?? "")/\(pod.name)"
        let query = context.request.query
        var items: [(String, String)] = []
        let path: String
        switch context.info.subresource {
        case "log":
            path = "/containerLogs/\(place)/\(try container(context, pod))"
            items = query.filter { $0.name != "container" }.map { ($0.name, $0.value) }
        case "portforward":
            path = "/portForward/\(place)"
            items = query.map { ($0.name == "ports" ? "port" : $0.name, $0.value) }
        default:
            path = "/\(context.info.subresource)/\(place)/\(try container(context, pod))"
            let names = ["stdin": "input", "stdout": "output", "stderr": "error"]
            for item in query where item.name != "container" {
                if let name = names[item.name] {
                    if Bool(queryValue: item.value) { items.append((name, "1")) }
                } else if item.name == "tty" {
                    if Bool(queryValue: item.value) { items.append(("tty", "1")) }
                } else {
                    items.append((item.name, item.value))
                }
            }
        }
        let text = items.map { "\(PercentCoding.encoded($0.0))=\(PercentCoding.encoded($0.1))" }.joined(separator: "&")
        return KubeletTarget(host: host, port: port, target: text.isEmpty ? path : "\(path)?\(text)")
    }

    /// The container that is meant: the only one, the one that the pod names as its default, or the one asked for.
    private func container(_ context: RequestContext, _ pod: KubeObject) throws(StatusError) -> String {
        let regular = (pod["spec"]["containers"].array ?? []).compactMap { $0["name"].string }
        let initial = (pod["spec"]["initContainers"].array ?? []).compactMap { $0["name"].string }
        let ephemeral = (pod["spec"]["ephemeralContainers"].array ?? []).compactMap { $0["name"].string }
        if let name = context.request.query("container"), !name.isEmpty {
            guard (regular + initial + ephemeral).contains(name) else {
                throw .badRequest("container \(name) is not valid for pod \(pod.name)")
            }
            return name
        }
        if let only = regular.first, regular.count == 1 { return only }
        if let name = pod.annotations["kubectl.kubernetes.io/default-container"], regular.contains(name) { return name }
        var choices = "[\(regular.joined(separator: " "))]"
        if !initial.isEmpty { choices += " or one of the init containers: [\(initial.joined(separator: " "))]" }
        throw .badRequest(
            "a container name must be specified for pod \(pod.name), choose one of: \(choices)")
    }
}
