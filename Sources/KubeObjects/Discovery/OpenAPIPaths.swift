// SPDX-License-Identifier: Apache-2.0

import Values

/// The paths of a resource and its subresources, with the bodies and parameters that each method takes.
struct OpenAPIPaths {
    let registry: ResourceRegistry
    let type: ResourceType

    private typealias Parameter = OpenAPIOperation.Parameter
    typealias Path = (path: String, operations: [OpenAPIOperation])

    private static let patchTypes = [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]

    static func acceptedPatches(_ type: ResourceType) -> [String] {
        type.isCustom ? patchTypes.filter { !$0.contains("strategic") } : patchTypes
    }

    func version3() -> [JSONObject.Member] { members(\.version3) }
    func version2() -> [JSONObject.Member] { members(\.version2) }

    private func members(_ form: (OpenAPIOperation) -> JSON) -> [JSONObject.Member] {
        all.map { ($0.path, .object(JSONObject($0.operations.map { ($0.method, form($0)) }))) }
    }

    var all: [Path] {
        let collection = type.resource.path(namespace: type.isNamespaced ? "{namespace}" : nil)
        var paths = [
            path(collection, ["list", "create", "deletecollection"]),
            path(collection + "/{name}", ["get", "update", "patch", "delete"]),
        ]
        if type.isNamespaced, type.verbs.contains("list") {
            paths.append((type.resource.path(namespace: nil), [operation("list", everywhere: true)]))
        }
        for subresource in type.subresources {
            paths += self.paths(of: subresource, below: "\(collection)/{name}/\(subresource.name)")
        }
        return paths.filter { !$0.operations.isEmpty }
    }

    private func path(_ path: String, _ verbs: [String]) -> Path {
        (path, verbs.filter(type.verbs.contains).map { operation($0) })
    }

    // MARK: The resource itself

    /// The method and the action of each verb, and how generated clients call it.
    private static let verbs: [String: (method: String, action: String, word: String)] = [
        "list": ("get", "list", "list"), "create": ("post", "post", "create"),
        "deletecollection": ("delete", "deletecollection", "delete"), "get": ("get", "get", "read"),
        "update": ("put", "put", "replace"), "patch": ("patch", "patch", "patch"),
        "delete": ("delete", "delete", "delete"),
    ]

    private func operation(_ verb: String, everywhere: Bool = false) -> OpenAPIOperation {
        let (method, action, word) = Self.verbs[verb] ?? (verb, verb, verb)
        let onObject = ["get", "update", "patch", "delete"].contains(verb)
        let scope = type.isNamespaced && !everywhere ? "Namespaced" : ""
        let prefix = verb == "deletecollection" ? "Collection" : ""
        var operation = OpenAPIOperation(
            method: method, action: action,
            id: "\(word)\(idGroup)\(prefix)\(scope)\(type.kind)\(everywhere ? "ForAllNamespaces" : "")", tag: tag,
            kind: type.groupVersionKind,
            parameters: queryParameters(verb) + pathParameters(onObject: onObject, everywhere: everywhere),
            response: response(verb))
        addBody(to: &operation, verb, typeName: type.typeName)
        return operation
    }

    private func addBody(to operation: inout OpenAPIOperation, _ verb: String, typeName: String?) {
        switch verb {
        case "create", "update":
            operation.consumes = ["*/*"]
            operation.body = typeName
        case "patch":
            operation.consumes = Self.acceptedPatches(type)
            operation.body = OpenAPIOperation.patch
        case "delete", "deletecollection":
            operation.consumes = ["*/*"]
            operation.body = Self.meta + "DeleteOptions"
            operation.isBodyRequired = false
        default: break
        }
    }

    private static let meta = "io.k8s.apimachinery.pkg.apis.meta.v1."

    private func response(_ verb: String) -> String {
        switch verb {
        case "list": type.typeName + "List"
        case "delete" where !KindDescription.of(type).strategy.answersWithDeleted: Self.meta + "Status"
        case "deletecollection": Self.meta + "Status"
        default: type.typeName
        }
    }

    private func queryParameters(_ verb: String) -> [OpenAPIOperation.Parameter] {
        func strings(_ names: String...) -> [Parameter] { names.map { Parameter(name: $0, type: "string") } }
        func flags(_ names: String...) -> [Parameter] { names.map { Parameter(name: $0, type: "boolean") } }
        func numbers(_ names: String...) -> [Parameter] { names.map { Parameter(name: $0, type: "integer") } }
        let selecting =
            strings("continue", "fieldSelector", "labelSelector", "resourceVersion", "resourceVersionMatch")
            + numbers("limit", "timeoutSeconds") + flags("sendInitialEvents")
        let deleting =
            strings("dryRun", "propagationPolicy") + numbers("gracePeriodSeconds") + flags("orphanDependents")
        let parameters =
            switch verb {
            case "list": selecting + flags("allowWatchBookmarks", "watch")
            case "create", "update": strings("dryRun", "fieldManager", "fieldValidation")
            case "patch": strings("dryRun", "fieldManager", "fieldValidation") + flags("force")
            case "delete": deleting
            case "deletecollection": selecting + deleting
            default: [Parameter]()
            }
        return parameters + strings("pretty")
    }

    private func pathParameters(onObject: Bool, everywhere: Bool = false) -> [OpenAPIOperation.Parameter] {
        var names: [String] = []
        if onObject { names.append("name") }
        if type.isNamespaced, !everywhere { names.append("namespace") }
        return names.map { Parameter(name: $0, type: "string", isInPath: true) }
    }

    /// `AppsV1`, `RbacAuthorizationV1`, `StableExampleComV1`.
    private var idGroup: String {
        let group = type.group.isEmpty ? "core" : type.group
        let short = group.hasSuffix(".k8s.io") ? String(group.dropLast(7)) : group
        return (short.split(whereSeparator: { $0 == "." || $0 == "-" }).map(String.init) + [type.version])
            .map(Self.capitalized).joined()
    }

    private var tag: String {
        let group = type.group.isEmpty ? "core" : type.group
        let short = group.hasSuffix(".k8s.io") ? String(group.dropLast(7)) : group
        return "\(String(short.map { $0 == "." || $0 == "-" ? "_" : $0 }))_\(type.version)"
    }

    private static func capitalized(_ word: some StringProtocol) -> String {
        word.prefix(1).uppercased() + word.dropFirst()
    }

    // MARK: Subresources

    /// Methods that go on to a node, a pod or a service.
    private static let connecting: Set<String> = ["exec", "attach", "portforward", "proxy"]

    private func paths(of subresource: ResourceType.Subresource, below path: String) -> [Path] {
        if Self.connecting.contains(subresource.name) {
            let methods = subresource.name == "proxy" ? ["get", "put", "post", "delete", "patch"] : ["get", "post"]
            let operations = methods.map { connection(subresource, $0) }
            guard subresource.name == "proxy" else { return [(path, operations)] }
            return [
                (path, operations), (path + "/{path}", methods.map { connection(subresource, $0, withPath: true) }),
            ]
        }
        let verbs = ["get", "update", "patch", "create", "delete"].filter(subresource.verbs.contains)
        return [(path, verbs.map { operation($0, on: subresource) })]
    }

    private func operation(_ verb: String, on subresource: ResourceType.Subresource) -> OpenAPIOperation {
        let (method, action, word) = Self.verbs[verb] ?? (verb, verb, verb)
        let typeName = subresource.name == "log" ? nil : registry.typeName(ofKind: subresource.kind)
        var operation = OpenAPIOperation(
            method: method, action: action, id: "\(word)\(id(of: subresource))", tag: tag, kind: subresource.kind,
            parameters: (subresource.name == "log" ? Self.logParameters : queryParameters(verb))
                + pathParameters(onObject: true),
            response: typeName)
        addBody(to: &operation, verb, typeName: typeName)
        return operation
    }

    private func connection(
        _ subresource: ResourceType.Subresource, _ method: String, withPath: Bool = false
    ) -> OpenAPIOperation {
        let query: [Parameter] =
            switch subresource.name {
            case "exec": Self.streamParameters + [Parameter(name: "command", type: "string")]
            case "attach": Self.streamParameters
            case "portforward": [Parameter(name: "ports", type: "integer")]
            default: [Parameter(name: "path", type: "string")]
            }
        let step = [Parameter(name: "path", type: "string", isInPath: true)]
        return OpenAPIOperation(
            method: method, action: "connect",
            id: "connect\(idGroup)\(Self.capitalized(method))\(id(of: subresource, withGroup: false))"
                + (withPath ? "WithPath" : ""),
            tag: tag, kind: subresource.kind,
            parameters: (withPath ? step : query) + pathParameters(onObject: true), response: nil)
    }

    private func id(of subresource: ResourceType.Subresource, withGroup: Bool = true) -> String {
        "\(withGroup ? idGroup : "")\(type.isNamespaced ? "Namespaced" : "")\(type.kind)"
            + Self.capitalized(subresource.name)
    }

    private static let streamParameters =
        ["stdin", "stdout", "stderr", "tty"].map { Parameter(name: $0, type: "boolean") }
        + [Parameter(name: "container", type: "string")]

    private static let logParameters =
        ["follow", "previous", "timestamps", "insecureSkipTLSVerifyBackend"].map {
            Parameter(name: $0, type: "boolean")
        }
        + ["limitBytes", "sinceSeconds", "tailLines"].map { Parameter(name: $0, type: "integer") }
        + ["container", "pretty", "stream"].map { Parameter(name: $0, type: "string") }
}
