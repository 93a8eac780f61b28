// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Where and how a server listens.
public struct HTTPServerConfiguration: Sendable {
    /// Where to listen.
    public enum Binding: Sendable {
        /// Port 0 lets the kernel choose.
        case address(host: String, port: Int)
        /// A Unix socket; one left over at the path by an earlier run is replaced.
        case unix(path: String)
        /// A socket that is bound already, handed over: the server listens on it and closes it. A socket stays in the
        /// network namespace of the thread that made it.
        case socket(CInt)
    }

    /// What protects the bytes.
    public enum Security: Sendable {
        case plain
        /// `clientCAPEM`: authorities of client certificates. A client may show none; one that is shown must be good.
        case tls(certificatePEM: String, privateKeyPEM: String, clientCAPEM: String? = nil)

        var isTLS: Bool { if case .tls = self { true } else { false } }
    }

    public var binding: Binding
    public var security: Security
    /// Whether clients may choose HTTP/2 in the TLS handshake; without TLS there is only HTTP/1.1.
    public var allowsHTTP2 = true
    /// Requests that one HTTP/2 connection may have under way, as kube-apiserver has it.
    public var maximumStreams = 250
    /// All the headers of one request together.
    public var maximumHeaderSize = 256 << 10
    /// The body of one request; 413 beyond.
    public var maximumBodySize = 64 << 20
    /// From the connection to its first request, handshake included.
    public var firstRequestTimeout: TimeAmount = .seconds(30)
    /// Between two requests. Longer than clients keep idle connections (Go: 90 s), so that they close first and never
    /// send a request into a closing connection.
    public var keepAliveTimeout: TimeAmount = .seconds(180)
    /// Between two pieces of a body.
    public var bodyTimeout: TimeAmount = .seconds(60)
    /// How long a client may take none of an answer before it is given up: what it does not take is held in memory.
    public var sendTimeout: TimeAmount = .seconds(60)
    /// The same for answers without an end, such as a watch or a log that somebody looks at page by page.
    public var streamTimeout: TimeAmount = .seconds(300)

    public init(_ binding: Binding, security: Security = .plain) {
        self.binding = binding
        self.security = security
    }
}
