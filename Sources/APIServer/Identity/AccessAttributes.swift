// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// What somebody wants to do, as authorization is asked.
struct AccessAttributes: Sendable, Hashable {
    var verb: String
    var group = ""
    var version = ""
    var resource = ""
    var subresource = ""
    var namespace = ""
    var name = ""
    /// By which a list or watch is narrowed.
    var fieldSelector = ""
    /// The path of a request that is not for a resource.
    var path: String?

    init(
        verb: String, group: String = "", version: String = "", resource: String = "", subresource: String = "",
        namespace: String = "", name: String = ""
    ) {
        self.verb = verb
        self.group = group
        self.version = version
        self.resource = resource
        self.subresource = subresource
        self.namespace = namespace
        self.name = name
    }

    init(verb: String, path: String) {
        self.verb = verb
        self.path = path
    }

    init(_ info: RequestInfo, _ request: IncomingRequest) {
        guard info.isResourceRequest else {
            self.init(verb: info.verb, path: info.path)
            return
        }
        self.init(
            verb: info.verb, group: info.group, version: info.version, resource: info.resource,
            subresource: info.subresource, namespace: info.namespace ?? "",
            name: info.authorizedName(request) ?? "")
        fieldSelector = request.query("fieldSelector") ?? ""
    }

    /// `pods/log`, as rules name it.
    var resourcePath: String { subresource.isEmpty ? resource : "\(resource)/\(subresource)" }

    /// The refusal in Kubernetes' words.
    func forbidden(_ user: UserInfo, _ reason: String = "") -> StatusError {
        let why = reason.isEmpty ? "" : ": \(reason)"
        if let path { return .forbidden(path: path, "User \"\(user.name)\" cannot \(verb) path \"\(path)\"") }
        let scope = namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(namespace)\""
        return .forbidden(
            GroupVersionResource(group, version, resource), name: name,
            "User \"\(user.name)\" cannot \(verb) resource \"\(resourcePath)\" in API group \"\(group)\" \(scope)\(why)"
        )
    }
}
