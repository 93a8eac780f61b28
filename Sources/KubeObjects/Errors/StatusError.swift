// SPDX-License-Identifier: Apache-2.0

public import Values

/// A failure as the API answers it: a `Status` object and its HTTP code.
public struct StatusError: Error, Sendable, Hashable, CustomStringConvertible {
    public var code: Int
    public var reason: String
    public var message: String
    /// name, group, kind, uid, causes, retryAfterSeconds.
    public var details: JSON?
    /// `metadata.continue` of an expired list.
    public var continueToken: String?

    public init(_ code: Int, _ reason: String, _ message: String, details: JSON? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
    }

    public var description: String { message }

    public var json: JSON {
        var metadata = JSON.object([:])
        if let continueToken { metadata["continue"] = JSON(continueToken) }
        var status: JSON = [
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": JSON(message),
        ]
        if !reason.isEmpty { status["reason"] = JSON(reason) }
        if let details { status["details"] = details }
        status["code"] = JSON(code)
        return status
    }

    public var retryAfterSeconds: Int? { details["retryAfterSeconds"].int }

    /// The body that says that something was done: what DELETE answers when the object is gone.
    public static func success(_ resource: GroupVersionResource, name: String, uid: String) -> JSON {
        var details: JSON = ["name": JSON(name)]
        if !resource.group.isEmpty { details["group"] = JSON(resource.group) }
        details["kind"] = JSON(resource.resource)
        if !uid.isEmpty { details["uid"] = JSON(uid) }
        return [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "details": details,
        ]
    }
}

/// One constructor for each reason that Kubernetes knows.
extension StatusError {
    private static func details(
        _ group: String, _ kind: String, _ name: String, causes: [JSON] = [], retryAfter: Int? = nil, uid: String = ""
    ) -> JSON {
        var details = JSON.object([:])
        if !name.isEmpty { details["name"] = JSON(name) }
        if !group.isEmpty { details["group"] = JSON(group) }
        if !kind.isEmpty { details["kind"] = JSON(kind) }
        if !uid.isEmpty { details["uid"] = JSON(uid) }
        if !causes.isEmpty { details["causes"] = .array(causes) }
        if let retryAfter { details["retryAfterSeconds"] = JSON(retryAfter) }
        return details
    }

    public static func badRequest(_ message: String) -> StatusError { StatusError(400, "BadRequest", message) }

    public static func unauthorized(_ message: String = "Unauthorized") -> StatusError {
        StatusError(401, "Unauthorized", message)
    }

    public static func forbidden(_ resource: GroupVersionResource, name: String, _ why: String) -> StatusError {
        let subject = name.isEmpty ? resource.groupResource : "\(resource.groupResource) \"\(name)\""
        return StatusError(
            403, "Forbidden", "\(subject) is forbidden: \(why)",
            details: details(resource.group, resource.resource, name))
    }

    /// Refusal of a path that is not a resource.
    public static func forbidden(path: String, _ why: String) -> StatusError {
        StatusError(403, "Forbidden", "forbidden: \(why)", details: .object([:]))
    }

    public static func notFound(_ resource: GroupVersionResource, name: String) -> StatusError {
        StatusError(
            404, "NotFound", "\(resource.groupResource) \"\(name)\" not found",
            details: details(resource.group, resource.resource, name))
    }

    /// A path that nothing serves.
    public static func noSuchPath() -> StatusError {
        StatusError(404, "NotFound", "the server could not find the requested resource", details: .object([:]))
    }

    public static func methodNotAllowed(_ resource: GroupVersionResource, verb: String) -> StatusError {
        StatusError(
            405, "MethodNotAllowed", "\(verb) is not supported on resources of kind \"\(resource.groupResource)\"",
            details: details(resource.group, resource.resource, ""))
    }

    public static func notAcceptable(_ message: String) -> StatusError { StatusError(406, "NotAcceptable", message) }

    public static func alreadyExists(_ resource: GroupVersionResource, name: String) -> StatusError {
        StatusError(
            409, "AlreadyExists", "\(resource.groupResource) \"\(name)\" already exists",
            details: details(resource.group, resource.resource, name))
    }

    public static func conflict(_ resource: GroupVersionResource, name: String, _ why: String) -> StatusError {
        StatusError(
            409, "Conflict", "Operation cannot be fulfilled on \(resource.groupResource) \"\(name)\": \(why)",
            details: details(resource.group, resource.resource, name))
    }

    /// The resourceVersion that was sent is not the stored one.
    public static func staleVersion(_ resource: GroupVersionResource, name: String) -> StatusError {
        conflict(
            resource, name: name,
            "the object has been modified; please apply your changes to the latest version and try again")
    }

    public static func gone(_ message: String) -> StatusError { StatusError(410, "Gone", message) }

    public static func expired(_ message: String, continue token: String? = nil) -> StatusError {
        var error = StatusError(410, "Expired", message)
        error.continueToken = token
        return error
    }

    public static func tooOldResourceVersion(_ asked: String, oldest: String) -> StatusError {
        expired("too old resource version: \(asked) (\(oldest))")
    }

    public static func tooLarge(_ message: String) -> StatusError {
        StatusError(413, "RequestEntityTooLarge", message)
    }

    public static func unsupportedMediaType(_ message: String) -> StatusError {
        StatusError(415, "UnsupportedMediaType", message)
    }

    /// The object breaks rules of its kind; `errors` must not be empty.
    public static func invalid(_ groupKind: (group: String, kind: String), name: String, _ errors: [FieldError])
        -> StatusError
    {
        let subject = groupKind.group.isEmpty ? groupKind.kind : "\(groupKind.kind).\(groupKind.group)"
        var seen = Set<FieldError>()
        let unique = errors.filter { seen.insert($0).inserted }
        let texts = unique.map(\.description)
        let list = texts.count == 1 ? texts[0] : "[" + texts.joined(separator: ", ") + "]"
        return StatusError(
            422, "Invalid", "\(subject) \"\(name)\" is invalid: \(list)",
            details: details(groupKind.group, groupKind.kind, name, causes: unique.map(\.cause)))
    }

    public static func invalid(_ type: ResourceType, name: String, _ errors: [FieldError]) -> StatusError {
        invalid((type.group, type.kind), name: name, errors)
    }

    public static func tooManyRequests(_ message: String, causes: [JSON] = []) -> StatusError {
        StatusError(429, "TooManyRequests", message, details: details("", "", "", causes: causes))
    }

    public static func internalError(_ message: String) -> StatusError {
        StatusError(
            500, "InternalError", "Internal error occurred: \(message)",
            details: details("", "", "", causes: [["message": JSON(message)]]))
    }

    public static func serverTimeout(_ resource: GroupVersionResource, verb: String, retryAfterSeconds: Int)
        -> StatusError
    {
        StatusError(
            500, "ServerTimeout",
            "The \(verb) operation against \(resource.groupResource) could not be completed at this time, please try again.",
            details: details(resource.group, resource.resource, verb, retryAfter: retryAfterSeconds))
    }

    /// - Parameter retryAfterSeconds: when it may be there again, where that is known.
    public static func serviceUnavailable(_ message: String, retryAfterSeconds: Int? = nil) -> StatusError {
        guard let retryAfterSeconds else { return StatusError(503, "ServiceUnavailable", message) }
        return StatusError(
            503, "ServiceUnavailable", message, details: details("", "", "", retryAfter: retryAfterSeconds))
    }

    public static func timeout(_ message: String, retryAfterSeconds: Int? = nil, causes: [JSON] = []) -> StatusError {
        StatusError(
            504, "Timeout", message, details: details("", "", "", causes: causes, retryAfter: retryAfterSeconds))
    }

    /// A list at a revision that does not exist yet.
    public static func tooLargeResourceVersion(_ asked: Int64, current: Int64) -> StatusError {
        timeout(
            "Too large resource version: \(asked), current: \(current)", retryAfterSeconds: 1,
            causes: [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]])
    }
}
