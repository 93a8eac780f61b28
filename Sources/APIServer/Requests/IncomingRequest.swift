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
    var headers: [(name: String, value: String)]
    var origin: Origin
    /// Reads the whole body; throws `RequestBodyTooLarge` beyond the limit.
    var loadBody: @Sendable (_ limit: Int) async throws -> [UInt8]

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name }?.value
    }

    func headerValues(_ name: String) -> [String] {
        headers.filter { $0.name.lowercased() == name }.map(\.value)
    }

    func query(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// A flag of the query, as upstream reads it: whatever is there but `false` and `0` means yes, an empty value too.
    func flag(_ name: String) -> Bool {
        guard let value = query(name) else { return false }
        return value != "0" && value.lowercased() != "false"
    }

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

    /// The last header part of the user agent before `/`: the default name of a field manager.
    var userAgent: String { header("user-agent") ?? "" }
}

/// The body is longer than the server accepts.
struct RequestBodyTooLarge: Error {}
