// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import Values

/// A request as the API server sees it, whether it came over HTTPS or from a component of the same process.
struct IncomingRequest: Sendable {
    /// Who vouches for the caller.
    enum Origin: Sendable {
        case connection(ClientCertificate?)
        case inProcess(UserInfo)
    }

    var method: String
    /// Percent-decoded, without the query.
    var path: String
    var query: [(name: String, value: String)]
    /// The query as it was sent, without its `?`.
    var rawQuery = ""
    var headers: [(name: String, value: String)]
    var origin: Origin
    /// Reads the whole body; throws `RequestBodyTooLarge` beyond the limit.
    var loadBody: @Sendable (_ limit: Int) async throws -> [UInt8]
    /// The body as it arrives, for those who pass it on: it is read here or by `loadBody`.
    var body = HTTPRequestBody([])
    /// The client's address; empty for components of the same process.
    var remoteAddress = ""
    /// Whether collections and their changes are handed out as objects, which only components of the same process take.
    var takesObjects = false

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name }?.value
    }

    func headerValues(_ name: String) -> [String] {
        headers.filter { $0.name.lowercased() == name }.map(\.value)
    }

    /// Whether the client asks for another protocol on this connection (RFC 9110, section 7.8).
    var asksForUpgrade: Bool {
        header("upgrade") != nil && headerValues("connection").contains { $0.lowercased().contains("upgrade") }
    }

    func query(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// All values of a parameter that may stand more than once.
    func queryValues(_ name: String) -> [String] { query.filter { $0.name == name }.map(\.value) }

    /// A flag of the query; one that is missing means no.
    func flag(_ name: String) -> Bool { query(name).map { Bool(queryValue: $0) } ?? false }

    /// A number of the query; refused when it is none.
    func number(_ name: String) throws(StatusError) -> Int? {
        guard let value = query(name), !value.isEmpty else { return nil }
        guard let number = Int(value) else {
            let digits = value.drop { $0 == "-" || $0 == "+" }
            let isNumber = !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
            throw .badRequest(
                "strconv.ParseInt: parsing \(JSON(value)): \(isNumber ? "value out of range" : "invalid syntax")")
        }
        return number
    }

    var userAgent: String { header("user-agent") ?? "" }
}

/// The body is longer than the server accepts.
struct RequestBodyTooLarge: Error {}
