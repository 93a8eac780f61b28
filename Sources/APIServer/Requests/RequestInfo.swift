// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// What a request asks for, read off its method, path and query alone.
struct RequestInfo: Sendable, Equatable {
    var isResourceRequest = false
    /// A Kubernetes verb for resources, the lower-case method for anything else.
    var verb = ""
    var path = ""
    var group = ""
    var version = ""
    var resource = ""
    var subresource = ""
    /// What follows the subresource: the path of a proxied request, as its parts.
    var remainder: [String] = []
    var namespace: String?
    var name: String?

    var groupVersionResource: GroupVersionResource { GroupVersionResource(group, version, resource) }

    private static let namespaceSubresources: Set<String> = ["status", "finalize"]

    init(_ request: IncomingRequest) {
        path = request.path
        verb = request.method.lowercased()
        var parts = request.path.split(separator: "/").map(String.init)[...]
        switch parts.first {
        case "api":
            guard parts.count >= 3 else { return }
            version = parts[1]
            parts = parts.dropFirst(2)
        case "apis":
            guard parts.count >= 4 else { return }
            group = parts[1]
            version = parts[2]
            parts = parts.dropFirst(3)
        default: return
        }
        isResourceRequest = true
        let isWatchPath = parts.first == "watch" && parts.count > 1
        if isWatchPath { parts = parts.dropFirst() }
        if parts.first == "namespaces", parts.count >= 2 {
            namespace = parts[parts.startIndex + 1]
            let third = parts.count > 2 ? parts[parts.startIndex + 2] : nil
            if let third, !(Self.namespaceSubresources.contains(third) && parts.count == 3) {
                parts = parts.dropFirst(2)
            }
        }
        resource = parts.first ?? ""
        name = parts.dropFirst().first
        subresource = parts.dropFirst(2).first ?? ""
        remainder = Array(parts.dropFirst(3))
        // The query turns the read of a collection into a watch; that of one object only the path does. A HEAD has no
        // body that could go on.
        setVerb(request, isWatchPath || name == nil && request.method != "HEAD" && request.flag("watch"))
    }

    private mutating func setVerb(_ request: IncomingRequest, _ watches: Bool) {
        switch request.method {
        case "GET", "HEAD":
            if watches, subresource.isEmpty {
                verb = "watch"
            } else {
                verb = name == nil ? "list" : "get"
            }
        case "POST": verb = "create"
        case "PUT": verb = "update"
        case "PATCH": verb = "patch"
        case "DELETE": verb = name == nil ? "deletecollection" : "delete"
        // OPTIONS of a proxied request: only who may do everything may do what has no name.
        default: verb = ""
        }
        if ["exec", "attach", "portforward"].contains(subresource), verb == "get" { verb = "create" }
    }

    /// The object's name as rules restrict it: that of the path, or the one a list or watch selects by field.
    func authorizedName(_ request: IncomingRequest) -> String? {
        if let name { return name }
        guard verb == "list" || verb == "watch" || verb == "deletecollection",
            let selector = request.query("fieldSelector")
        else { return nil }
        for part in selector.split(separator: ",") {
            for prefix in ["metadata.name==", "metadata.name="] where part.hasPrefix(prefix) {
                return String(part.dropFirst(prefix.count))
            }
        }
        return nil
    }
}
