// SPDX-License-Identifier: Apache-2.0

package import KubeClient
package import KubeObjects
import Synchronization
import Values

/// An API server as small as the agent's tests need it: objects by path, versions, compare-and-swap, merge patches and
/// watches. No schema, no defaults.
package final class MemoryAPI: APITransport {
    private struct State {
        var version: Int64 = 100
        var objects: [String: JSON] = [:]
        var watchers: [Int: (prefix: String, continuation: AsyncThrowingStream<[UInt8], any Error>.Continuation)] = [:]
        var nextWatcher = 0
        var writes = 0
        var requests: [String] = []
        /// Refuses requests for which it returns an answer.
        var interference: (@Sendable (APIRequest) -> APIResponse?)?
    }

    private let state = Mutex(State())

    package init() {}

    package var client: KubeClient { KubeClient(self) }
    package var requests: [String] { state.withLock { $0.requests } }

    package func interfere(_ body: (@Sendable (APIRequest) -> APIResponse?)?) {
        state.withLock { $0.interference = body }
    }

    package static func failure(_ code: Int, _ reason: String) -> APIResponse {
        let status: JSON = [
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": JSON(code), "reason": JSON(reason),
            "message": JSON("\(reason) (test)"),
        ]
        return APIResponse(status: code, body: .bytes(status.serialized()))
    }

    package func objects(_ resource: GroupVersionResource) -> [KubeObject] {
        let prefix = resource.path() + "/"
        return state.withLock { state in
            state.objects.filter { $0.key.hasPrefix(prefix) || Self.collection($0.key) == resource.path() }
                .sorted { $0.key < $1.key }.map { KubeObject($0.value) }
        }
    }

    /// The collection's path without its namespace.
    private static func collection(_ path: String) -> String {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast()
        if let index = parts.firstIndex(of: "namespaces"), index + 2 < parts.count {
            parts.removeSubrange(index...index + 1)
        }
        return parts.joined(separator: "/")
    }

    package func send(_ request: APIRequest) async throws -> APIResponse {
        if let interference = state.withLock({ $0.interference }), let answer = interference(request) { return answer }
        return try state.withLock { state in
            state.requests.append("\(request.method) \(request.path)")
            return try answer(request, &state)
        }
    }

    private func answer(_ request: APIRequest, _ state: inout State) throws -> APIResponse {
        var path = request.path
        if path.hasSuffix("/status") { path.removeLast(7) }
        func reply(_ json: JSON, _ code: Int = 200) -> APIResponse {
            APIResponse(status: code, body: .bytes(json.serialized()))
        }
        switch request.method {
        case "GET":
            if let object = state.objects[path] { return reply(object) }
            let isNamed = ![
                "pods", "nodes", "namespaces", "services", "endpointslices", "ippools", "ipamblocks",
                "blockaffinities", "ipamhandles", "ipamconfigs", "ipreservations", "events", "bgpconfigurations",
                "bgppeers", "bgpfilters", "felixconfigurations",
            ].contains(String(path.split(separator: "/").last ?? ""))
            if isNamed { return Self.failure(404, "NotFound") }
            if request.query.contains(where: { $0.0 == "watch" }) { return watch(path, request, &state) }
            let items = state.objects.filter { Self.collection($0.key) == path || $0.key.hasPrefix(path + "/") }
                .sorted { $0.key < $1.key }.map(\.value)
            return reply([
                "kind": "List", "apiVersion": "v1", "metadata": ["resourceVersion": JSON("\(state.version)")],
                "items": .array(items),
            ])
        case "POST":
            var object = try JSON(parsing: request.body)
            path += "/" + (object["metadata"]["name"].string ?? "event-\(state.version)")
            guard state.objects[path] == nil else { return Self.failure(409, "AlreadyExists") }
            object["metadata"]["uid"] = JSON("uid-\(state.version)")
            return reply(store(path, object, "ADDED", &state), 201)
        case "PUT", "PATCH":
            guard let old = state.objects[path] else { return Self.failure(404, "NotFound") }
            let body = try JSON(parsing: request.body)
            if let version = body["metadata"]["resourceVersion"].string,
                version != old["metadata"]["resourceVersion"].string
            {
                return Self.failure(409, "Conflict")
            }
            var object = request.method == "PUT" ? body : Self.merge(old, body)
            object["metadata"]["uid"] = old["metadata"]["uid"]
            return reply(store(path, object, "MODIFIED", &state))
        case "DELETE":
            guard let old = state.objects[path] else { return Self.failure(404, "NotFound") }
            let wanted = (try? JSON(parsing: request.body))["preconditions"]
            for field in ["uid", "resourceVersion"] {
                if let value = wanted[field].string, value != old["metadata"][field].string {
                    return Self.failure(409, "Conflict")
                }
            }
            state.objects[path] = nil
            state.version += 1
            var last = old
            last["metadata"]["resourceVersion"] = JSON("\(state.version)")
            tell(path, "DELETED", last, &state)
            return reply(["kind": "Status", "status": "Success"])
        default: return Self.failure(405, "MethodNotAllowed")
        }
    }

    private func store(_ path: String, _ object: JSON, _ event: String, _ state: inout State) -> JSON {
        state.version += 1
        state.writes += 1
        var object = object
        object["metadata"]["resourceVersion"] = JSON("\(state.version)")
        state.objects[path] = object
        tell(path, event, object, &state)
        return object
    }

    private func tell(_ path: String, _ event: String, _ object: JSON, _ state: inout State) {
        for watcher in state.watchers.values
        where Self.collection(path) == watcher.prefix || path.hasPrefix(watcher.prefix + "/") {
            watcher.continuation.yield(JSON.object(["type": JSON(event), "object": object]).serialized() + [0x0A])
        }
    }

    private func watch(_ path: String, _ request: APIRequest, _ state: inout State) -> APIResponse {
        let (stream, continuation) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        let id = state.nextWatcher
        state.nextWatcher += 1
        state.watchers[id] = (path, continuation)
        // What changed between the list and the watch is told again.
        let since = request.query.first { $0.0 == "resourceVersion" }.flatMap { Int64($0.1) } ?? 0
        for (key, object) in state.objects where Self.collection(key) == path || key.hasPrefix(path + "/") {
            if (object["metadata"]["resourceVersion"].string.flatMap { Int64($0) } ?? 0) > since {
                continuation.yield(JSON.object(["type": "MODIFIED", "object": object]).serialized() + [0x0A])
            }
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.watchers[id] = nil } }
        return APIResponse(status: 200, body: .stream(stream))
    }

    private static func merge(_ old: JSON, _ patch: JSON) -> JSON {
        guard let members = patch.object else { return patch }
        var result = old.object == nil ? JSON.object([:]) : old
        for (key, value) in members {
            result[key] = value.isNull ? nil : merge(result[key] ?? .null, value)
        }
        return result
    }
}

/// Ready-made objects.
package enum Sample {
    package static func pool(
        _ name: String, _ cidr: String, selector: String = "all()", blockSize: Int = 26, vxlan: String = "Never"
    ) -> KubeObject {
        var object = KubeObject(.ipPools, kind: "IPPool", name: name)
        object["spec"] = [
            "cidr": JSON(cidr), "nodeSelector": JSON(selector), "blockSize": JSON(blockSize), "natOutgoing": true,
            "vxlanMode": JSON(vxlan),
        ]
        return object
    }

    package static func node(_ name: String, _ labels: [String: String] = [:], address: String? = nil) -> KubeObject {
        var object = KubeObject(.nodes, kind: "Node", name: name, labels: labels)
        if let address { object["status"] = ["addresses": [["type": "InternalIP", "address": JSON(address)]]] }
        return object
    }

    package static func pod(_ name: String, node: String) -> KubeObject {
        var object = KubeObject(.pods, kind: "Pod", name: name, namespace: "default")
        object["spec"] = ["nodeName": JSON(node)]
        return object
    }
}
