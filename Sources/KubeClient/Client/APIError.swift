// SPDX-License-Identifier: Apache-2.0

public import Values

/// An API server's refusal: the `Status` it answered with.
public struct APIError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The HTTP status.
    public var code: Int
    /// `NotFound`, `AlreadyExists`, `Conflict`, ...; empty when the server named none.
    public var reason: String
    public var message: String
    /// `kind`, `name`, `causes`, `retryAfterSeconds`.
    public var details: JSON?

    public init(code: Int, reason: String, message: String, details: JSON? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
    }

    /// Reads a `Status`. `code` stands in when the Status has none.
    public init(status: JSON, code: Int = 500) {
        self.code = status["code"].int ?? code
        reason = status["reason"].string ?? ""
        message = status["message"].string ?? "the server answered \(self.code) without a message"
        details = status["details"]
    }

    /// Reads the body of an answer that was not a success: a `Status`, or whatever text a proxy wrote instead.
    public init(code: Int, body: [UInt8]) {
        if let status = try? JSON(parsing: body), status["kind"].string == "Status" {
            self.init(status: status, code: code)
        } else {
            let text = String(decoding: body.prefix(500), as: UTF8.self).split(separator: "\n").joined(separator: " ")
            self.init(
                code: code, reason: "", message: "the server answered \(code): \(text.isEmpty ? "(no text)" : text)")
        }
    }

    public var description: String { reason.isEmpty ? message : "\(message) (\(reason))" }

    public var isNotFound: Bool { code == 404 }
    public var isAlreadyExists: Bool { reason == "AlreadyExists" }
    /// The object changed since it was read; `AlreadyExists` has the same code and is not meant.
    public var isConflict: Bool { code == 409 && reason != "AlreadyExists" }
    /// A resource version or continue token too old to go on from: list again.
    public var isGone: Bool { code == 410 || reason == "Expired" || reason == "Gone" }
    public var isInvalid: Bool { reason == "Invalid" }
    public var isForbidden: Bool { code == 403 }
    public var isUnauthorized: Bool { code == 401 }
    public var isTooManyRequests: Bool { code == 429 }
    /// Worth trying again unchanged: the server is overloaded, starting or gone for a moment.
    public var isTransient: Bool { code == 429 || code >= 500 }

    /// What another manager has set, of a conflict of server-side apply: the field (`.spec.replicas`) and the manager's
    /// name, which the server gives in quotes.
    public var conflictingFields: [(field: String, manager: String)] {
        (details["causes"].array ?? []).compactMap { cause in
            guard cause["reason"].string == "FieldManagerConflict", let field = cause["field"].string else {
                return nil
            }
            let parts = (cause["message"].string ?? "").split(separator: "\"", omittingEmptySubsequences: false)
            return (field, parts.count > 2 ? String(parts[1]) : "")
        }
    }

    /// The texts of `details.causes`, each with its field.
    public var causes: [(field: String, message: String)] {
        (details["causes"].array ?? []).map { ($0["field"].string ?? "", $0["message"].string ?? "") }
    }
}

/// An answer that is not what the API promises.
public struct MalformedAnswer: Error, Sendable, CustomStringConvertible {
    public let request: String
    public let reason: String

    public init(request: String, reason: String) {
        self.request = request
        self.reason = reason
    }

    public var description: String { "\(request): the API server's answer cannot be read: \(reason)" }
}
