// SPDX-License-Identifier: Apache-2.0

import NIOSSL
import Synchronization

/// How a client protects its bytes. Copies share what was made of the certificates, so one value serves many
/// connections.
public struct HTTPClientTLS: Sendable {
    /// Authorities that the server's certificate must come from; nil accepts any certificate.
    public let caPEM: String?
    public let certificatePEM: String?
    public let privateKeyPEM: String?
    /// The name that the server's certificate must carry; nil for the host connected to.
    public let serverName: String?
    /// Kubelets are reached by address, and their certificates may name only the node: then only the chain is checked.
    public let verifiesHostname: Bool
    private let made = Made()

    public init(
        caPEM: String?, certificatePEM: String? = nil, privateKeyPEM: String? = nil, serverName: String? = nil,
        verifiesHostname: Bool = true
    ) {
        self.caPEM = caPEM
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
        self.serverName = serverName
        self.verifiesHostname = verifiesHostname
    }

    func context() throws -> NIOSSLContext {
        try made.context.withLock { context in
            if let context { return context }
            let fresh = try makeContext()
            context = fresh
            return fresh
        }
    }

    private final class Made: Sendable {
        let context = Mutex<NIOSSLContext?>(nil)
    }

    private func makeContext() throws -> NIOSSLContext {
        do {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.applicationProtocols = ["http/1.1"]
            if let caPEM {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(caPEM.utf8)))
                tls.certificateVerification = verifiesHostname ? .fullVerification : .noHostnameVerification
            } else {
                tls.certificateVerification = .none
            }
            if let certificatePEM, let privateKeyPEM {
                tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)).map {
                    .certificate($0)
                }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(privateKeyPEM.utf8), format: .pem))
            }
            return try NIOSSLContext(configuration: tls)
        } catch {
            throw HTTPServingError("the client's certificate, key or authority cannot be used: \(error)")
        }
    }
}
