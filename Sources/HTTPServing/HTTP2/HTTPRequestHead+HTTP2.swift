// SPDX-License-Identifier: Apache-2.0

import NIOHPACK
import NIOHTTP1

/// Why a request's head is not passed to the handler.
enum HTTP2Refusal: Error, Equatable {
    /// Against the protocol: the stream is reset.
    case malformed
    /// The client is told.
    case answered(status: Int, text: String)
}

extension HTTPRequestHead {
    /// Reads a head out of HTTP/2's fields (RFC 9113, section 8.3), so that it looks as HTTP/1.1 would have it.
    init(_ fields: HPACKHeaders, hasBody: Bool, limit: Int) throws(HTTP2Refusal) {
        var pseudo = PseudoFields()
        var headers = HTTPHeaders()
        headers.reserveCapacity(fields.count + 1)
        var cookies: [String] = []
        var size = 0
        for (name, value, _) in fields {
            size += name.utf8.count + value.utf8.count + 32
            if name.utf8.first == UInt8(ascii: ":") {
                guard headers.isEmpty, cookies.isEmpty else { throw .malformed }
                try pseudo.take(name, value)
                continue
            }
            guard name.utf8.isFieldName, value.utf8.isFieldValue else { throw .malformed }
            switch name {
            case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
                // Go's server answers these too, instead of resetting: a client that wants to upgrade learns why not.
                throw .answered(
                    status: 400,
                    text: "the header \"\(name)\" means nothing over HTTP/2, where a connection cannot be upgraded: "
                        + "use HTTP/1.1\n")
            case "te" where value != "trailers": throw .malformed
            case "cookie": cookies.append(value)
            default: headers.add(name: name, value: value)
            }
        }
        guard size <= limit else {
            throw .answered(status: 431, text: "the request's headers are too large\n")
        }
        guard let method = pseudo.method, method.utf8.isMethod else { throw .malformed }
        guard method != "CONNECT" else { throw .answered(status: 405, text: "there are no tunnels here\n") }
        guard let path = pseudo.path, path.utf8.first == UInt8(ascii: "/") || path == "*", pseudo.scheme != nil else {
            throw .malformed
        }
        // Clients may send a cookie's pieces as fields of their own (section 8.2.3).
        if !cookies.isEmpty { headers.add(name: "cookie", value: cookies.joined(separator: "; ")) }
        if let authority = pseudo.authority, !authority.isEmpty {
            headers.replaceOrAdd(name: "host", value: authority)
        }
        // Frames tell where a body ends. Who asks whether there is one asks for one of these two headers.
        if hasBody, !headers.contains(name: "content-length") {
            headers.add(name: "transfer-encoding", value: "chunked")
        }
        self.init(version: .http2, method: HTTPMethod(rawValue: method), uri: path, headers: headers)
    }
}

extension HTTPHeaders {
    /// As the fields of an answer: names in lower case, and nothing that is about a connection.
    func http2Fields(status: Int) -> HPACKHeaders {
        var fields = HPACKHeaders()
        fields.reserveCapacity(count + 1)
        fields.add(name: ":status", value: String(status))
        for (name, value) in self {
            let lower = name.lowercased()
            switch lower {
            case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": continue
            default: fields.add(name: lower, value: value)
            }
        }
        return fields
    }
}

/// What HTTP/2 has in place of a request's first line, each once at most.
private struct PseudoFields {
    var method: String?
    var path: String?
    var scheme: String?
    var authority: String?

    mutating func take(_ name: String, _ value: String) throws(HTTP2Refusal) {
        guard value.utf8.isPseudoValue else { throw .malformed }
        let field: WritableKeyPath<PseudoFields, String?>
        switch name {
        case ":method": field = \.method
        case ":path": field = \.path
        case ":scheme": field = \.scheme
        case ":authority": field = \.authority
        default: throw .malformed
        }
        guard self[keyPath: field] == nil else { throw .malformed }
        self[keyPath: field] = value
    }
}

extension String.UTF8View {
    /// RFC 9110's tokens, without upper case (RFC 9113, section 8.2).
    fileprivate var isFieldName: Bool {
        !isEmpty && allSatisfy { $0.isTokenCharacter && !(0x41...0x5A).contains($0) }
    }

    fileprivate var isMethod: Bool { !isEmpty && allSatisfy(\.isTokenCharacter) }

    fileprivate var isFieldValue: Bool { allSatisfy { $0 != 0 && $0 != 0x0A && $0 != 0x0D } }

    /// No space and no control characters: they would break a first line of HTTP/1.1, where a proxy puts it.
    fileprivate var isPseudoValue: Bool { allSatisfy { $0 > 0x20 && $0 != 0x7F } }
}

extension UInt8 {
    fileprivate var isTokenCharacter: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x5E...0x7A, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x7C, 0x7E: true
        default: false
        }
    }
}
