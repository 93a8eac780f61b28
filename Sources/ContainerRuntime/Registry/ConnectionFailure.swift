// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Linux
import NIOCore
import NIOPosix
import NIOSSL

/// Why a connection did not come about, or broke: in words, and by kinds that call for different cures. No error of a
/// library shows through.
package struct ConnectionFailure: Sendable, Hashable, CustomStringConvertible {
    package enum Kind: String, Sendable, Hashable {
        case nameUnknown, refused, timedOut, noRoute, closed, certificate, plainHTTP, tls, proxy, other
    }

    package let kind: Kind
    package let description: String

    private init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    package init(_ error: any Error) {
        switch error {
        case let error as NIOConnectionError: self.init(connection: error)
        case let error as IOError: self.init(code: error.errnoCode)
        case let error as Errno: self.init(code: error.code)
        case is SocketAddressError, is SocketAddressError.UnknownHost:
            self.init(.nameUnknown, "its name cannot be resolved")
        case let error as HTTPClientError: self.init(client: error)
        case let error as NIOSSLError: self.init(tls: error)
        case is NIOSSLExtraError: self.init(.certificate, "its certificate is for another name")
        case let error as BoringSSLError: self.init(tls: .handshakeFailed(error))
        case let error as ChannelError:
            switch error {
            case .connectTimeout: self.init(.timedOut, "it does not answer (timed out)")
            default: self.init(.closed, "it closed the connection")
            }
        case is CancellationError: self.init(.other, "it was cancelled")
        default:
            // A parser's error, or one of a library that has none of the above.
            self.init(.other, "it does not speak HTTP as expected (\(type(of: error)))")
        }
    }

    private init(connection error: NIOConnectionError) {
        // Several addresses were tried: the kernel's word on one of them says more than a timeout of the whole.
        let failures = error.connectionErrors.map { ConnectionFailure($0.error) }
        if let best = failures.first(where: { $0.kind != .timedOut }) ?? failures.first {
            self = best
        } else if error.dnsAError != nil || error.dnsAAAAError != nil {
            self.init(.nameUnknown, "the name \(error.host) cannot be resolved")
        } else {
            self.init(.timedOut, "it does not answer (timed out)")
        }
    }

    private init(code: Int32) {
        switch code {
        case ECONNREFUSED: self.init(.refused, "connection refused")
        case ETIMEDOUT: self.init(.timedOut, "it does not answer (timed out)")
        case ENETUNREACH: self.init(.noRoute, "no route to it (network is unreachable)")
        case EHOSTUNREACH: self.init(.noRoute, "no route to host")
        case ECONNRESET, EPIPE, ECONNABORTED: self.init(.closed, "it closed the connection")
        default: self.init(.other, Errno.text(code).lowercased())
        }
    }

    private init(client error: HTTPClientError) {
        switch error {
        case .connectTimeout: self.init(.timedOut, "no answer within 10 s (timed out)")
        case .tlsHandshakeTimeout: self.init(.timedOut, "it takes the connection, but does not answer TLS (timed out)")
        case .readTimeout: self.init(.timedOut, "nothing came for 60 s (timed out)")
        case .deadlineExceeded, .getConnectionFromPoolTimeout, .writeTimeout:
            self.init(.timedOut, "it does not answer (timed out)")
        case .httpProxyHandshakeTimeout, .socksHandshakeTimeout:
            self.init(.proxy, "the proxy takes the connection, but does not answer (timed out)")
        case .proxyAuthenticationRequired:
            self.init(.proxy, "the proxy wants a user and a password: http://USER:PASSWORD@HOST:PORT")
        case .invalidProxyResponse: self.init(.proxy, "the proxy refuses to connect to it")
        case .remoteConnectionClosed, .uncleanShutdown: self.init(.closed, "it closed the connection")
        case .cancelled: self.init(.other, "it was cancelled")
        default: self.init(.other, "its address or answer makes no sense (\(error.shortDescription.lowercased()))")
        }
    }

    private init(tls error: NIOSSLError) {
        let text: String
        switch error {
        case .handshakeFailed(let inner): text = "\(inner)"
        case .uncleanShutdown:
            self.init(.closed, "it closed the connection")
            return
        case .unableToValidateCertificate, .noCertificateToValidate: text = "CERTIFICATE_VERIFY_FAILED"
        default: text = ""
        }
        let signs: [(String, Kind, String)] = [
            ("WRONG_VERSION_NUMBER", .plainHTTP, "it speaks plain HTTP where HTTPS was expected"),
            ("HTTP_REQUEST", .plainHTTP, "it speaks plain HTTP where HTTPS was expected"),
            ("HTTPS_PROXY_REQUEST", .plainHTTP, "it speaks plain HTTP where HTTPS was expected"),
            (
                "CERTIFICATE_VERIFY_FAILED", .certificate,
                "its certificate is not signed by an authority that this machine knows, or is out of date"
            ),
            ("EOF during", .closed, "it closed the connection during the TLS handshake"),
            ("ALERT", .tls, "it breaks off the TLS handshake"),
        ]
        let found = signs.first { text.contains($0.0) }
        self.init(found?.1 ?? .tls, found?.2 ?? "the TLS handshake with it fails")
    }
}
