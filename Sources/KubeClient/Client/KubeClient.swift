// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// The objects of one list, with the resource version to watch from.
public struct ObjectList: Sendable {
    public var items: [KubeObject]
    public var resourceVersion: String
    /// The token of the next page, when the list was asked for in pages.
    public var continueToken: String?

    public init(items: [KubeObject], resourceVersion: String, continueToken: String? = nil) {
        self.items = items
        self.resourceVersion = resourceVersion
        self.continueToken = continueToken
    }
}

/// How a patch is written.
public enum PatchType: String, Sendable {
    case json = "application/json-patch+json"
    case merge = "application/merge-patch+json"
    case strategic = "application/strategic-merge-patch+json"
    case apply = "application/apply-patch+yaml"
}

/// Speaks to a Kubernetes API server in objects. Every call throws ``APIError`` when the server refuses, and the
/// transport's own error when there is no answer.
public struct KubeClient: Sendable {
    public let transport: any APITransport
    private let userAgent: String

    public init(_ transport: any APITransport, userAgent: String = "catbird") {
        self.transport = transport
        self.userAgent = userAgent
    }

    /// Reads one object.
    public func get(
        _ resource: GroupVersionResource, _ name: String, in namespace: String? = nil, subresource: String? = nil
    ) async throws -> KubeObject {
        try await object("GET", resource.path(namespace: namespace, name: name, subresource: subresource))
    }

    /// The same, or nil when there is none (404).
    public func find(
        _ resource: GroupVersionResource, _ name: String, in namespace: String? = nil
    ) async throws -> KubeObject? {
        do { return try await get(resource, name, in: namespace) } catch let error as APIError where error.isNotFound {
            return nil
        }
    }

    /// The same by the object's key.
    public func find(_ resource: GroupVersionResource, _ key: ObjectKey) async throws -> KubeObject? {
        try await find(resource, key.name, in: key.namespace)
    }

    /// Lists objects; their `apiVersion` and `kind`, which servers leave out of lists, are filled in.
    public func list(
        _ resource: GroupVersionResource, in namespace: String? = nil, labelSelector: String? = nil,
        fieldSelector: String? = nil, resourceVersion: String? = nil, limit: Int? = nil,
        continueToken: String? = nil
    ) async throws -> ObjectList {
        var query = Self.selectors(labelSelector, fieldSelector)
        if let resourceVersion { query.append(("resourceVersion", resourceVersion)) }
        if let limit { query.append(("limit", String(limit))) }
        if let continueToken { query.append(("continue", continueToken)) }
        let path = resource.path(namespace: namespace)
        if let local = transport as? any LocalTransport {
            return try await local.list(request("GET", path, query: query, body: nil))
        }
        let list = try await json("GET", path, query: query)
        guard let kind = list["kind"].string, kind.hasSuffix("List"), let apiVersion = list["apiVersion"].string
        else { throw MalformedAnswer(request: "GET \(path)", reason: "it is no list") }
        let itemKind = JSON(String(kind.dropLast(4)))
        // A list of kind "List" holds objects that each name their own.
        let fillsIn = kind != "List"
        let items = (list["items"].array ?? []).map { item in
            var item = item
            if fillsIn, item["kind"] == nil { item["kind"] = itemKind }
            if fillsIn, item["apiVersion"] == nil { item["apiVersion"] = JSON(apiVersion) }
            return KubeObject(item)
        }
        return ObjectList(
            items: items, resourceVersion: list["metadata"]["resourceVersion"].string ?? "",
            continueToken: list["metadata"]["continue"].string.flatMap { $0.isEmpty ? nil : $0 })
    }

    /// Creates the object in the namespace that it names.
    @discardableResult
    public func create(_ resource: GroupVersionResource, _ object: KubeObject) async throws -> KubeObject {
        try await self.object("POST", resource.path(namespace: object.namespace), body: object.json)
    }

    /// Posts to a subresource: `binding`, `token`, `eviction`.
    @discardableResult
    public func create(
        _ resource: GroupVersionResource, name: String, in namespace: String? = nil, subresource: String,
        _ body: JSON
    ) async throws -> KubeObject {
        try await object(
            "POST", resource.path(namespace: namespace, name: name, subresource: subresource), body: body)
    }

    /// Replaces the object, or the part of it that `subresource` names; fails with a conflict when the object
    /// carries a resource version that is not the current one.
    @discardableResult
    public func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String? = nil
    ) async throws -> KubeObject {
        try await self.object(
            "PUT", resource.path(namespace: object.namespace, name: object.name, subresource: subresource),
            body: object.json)
    }

    @discardableResult
    public func patch(
        _ resource: GroupVersionResource, _ name: String, in namespace: String? = nil, type: PatchType, _ body: JSON,
        subresource: String? = nil
    ) async throws -> KubeObject {
        try await object(
            "PATCH", resource.path(namespace: namespace, name: name, subresource: subresource), body: body,
            contentType: type.rawValue)
    }

    /// Applies a configuration (server-side apply): makes the object, or sets the fields that `object` states and drops
    /// those that the same manager stated before.
    ///
    /// - Parameter force: takes fields that other managers set, instead of failing with a conflict.
    @discardableResult
    public func apply(
        _ resource: GroupVersionResource, _ object: KubeObject, fieldManager: String, force: Bool = false
    ) async throws -> KubeObject {
        KubeObject(
            try await json(
                "PATCH", resource.path(namespace: object.namespace, name: object.name),
                query: [("fieldManager", fieldManager)] + (force ? [("force", "true")] : []), body: object.json,
                contentType: PatchType.apply.rawValue))
    }

    /// Deletes the object; with `uid`, only if it is still that one.
    public func delete(
        _ resource: GroupVersionResource, _ name: String, in namespace: String? = nil, uid: String? = nil,
        gracePeriodSeconds: Int? = nil, propagationPolicy: String? = nil, resourceVersion: String? = nil
    ) async throws {
        var options: JSON = ["apiVersion": "v1", "kind": "DeleteOptions"]
        if let uid { options["preconditions"]["uid"] = JSON(uid) }
        if let resourceVersion { options["preconditions"]["resourceVersion"] = JSON(resourceVersion) }
        if let gracePeriodSeconds { options["gracePeriodSeconds"] = JSON(gracePeriodSeconds) }
        if let propagationPolicy { options["propagationPolicy"] = JSON(propagationPolicy) }
        _ = try await json("DELETE", resource.path(namespace: namespace, name: name), body: options)
    }

    /// Deletes all objects that the selectors choose.
    public func deleteCollection(
        _ resource: GroupVersionResource, in namespace: String? = nil, labelSelector: String? = nil,
        fieldSelector: String? = nil
    ) async throws {
        _ = try await json(
            "DELETE", resource.path(namespace: namespace), query: Self.selectors(labelSelector, fieldSelector))
    }

    /// Any request whose answer is JSON: discovery, `/version`, reviews.
    public func json(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSON? = nil,
        contentType: String = "application/json"
    ) async throws -> JSON {
        let response = try await send(method, path, query: query, body: body, contentType: contentType)
        let bytes = try await response.body.collect()
        guard (200..<300).contains(response.status) else { throw APIError(code: response.status, body: bytes) }
        do {
            return try JSON(parsing: bytes)
        } catch {
            throw MalformedAnswer(request: "\(method) \(path)", reason: "\(error)")
        }
    }

    /// Any request whose answer is text: `/readyz`, a pod's log.
    public func text(_ path: String, query: [(String, String)] = []) async throws -> String {
        let response = try await send("GET", path, query: query, body: nil, accept: "*/*")
        let bytes = try await response.body.collect()
        guard (200..<300).contains(response.status) else { throw APIError(code: response.status, body: bytes) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func object(
        _ method: String, _ path: String, body: JSON? = nil, contentType: String = "application/json"
    ) async throws -> KubeObject {
        KubeObject(try await json(method, path, body: body, contentType: contentType))
    }

    func send(
        _ method: String, _ path: String, query: [(String, String)], body: JSON?,
        contentType: String = "application/json", accept: String = "application/json"
    ) async throws -> APIResponse {
        let start = ContinuousClock.now
        do {
            let response = try await transport.send(
                request(method, path, query: query, body: body, contentType: contentType, accept: accept))
            ClientMetrics.answered(method, code: String(response.status), since: start)
            return response
        } catch {
            ClientMetrics.answered(method, code: "<error>", since: start)
            throw error
        }
    }

    func request(
        _ method: String, _ path: String, query: [(String, String)], body: JSON?,
        contentType: String = "application/json", accept: String = "application/json"
    ) -> APIRequest {
        var headers = [("User-Agent", userAgent), ("Accept", accept)]
        if body != nil { headers.append(("Content-Type", contentType)) }
        return APIRequest(method: method, path: path, query: query, headers: headers, body: body?.serialized() ?? [])
    }

    static func selectors(_ labelSelector: String?, _ fieldSelector: String?) -> [(String, String)] {
        var query: [(String, String)] = []
        if let labelSelector { query.append(("labelSelector", labelSelector)) }
        if let fieldSelector { query.append(("fieldSelector", fieldSelector)) }
        return query
    }
}
