// SPDX-License-Identifier: Apache-2.0

public import NIOCore
public import NIOHTTP1
import NIOPosix
import NIOSSL
import Values

/// How a client protects its bytes.
public struct HTTPClientTLS: Sendable {
    /// Authorities that the server's certificate must come from; nil accepts any certificate.
    public var caPEM: String?
    public var certificatePEM: String?
    public var privateKeyPEM: String?
    /// The name that the server's certificate must carry; nil for the host connected to.
    public var serverName: String?
    /// Kubelets are reached by address, and their certificates may name only the node: then only the chain is checked.
    public var verifiesHostname: Bool

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

    func makeContext() throws -> NIOSSLContext {
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

/// What a server answered to a request for an upgrade.
public struct HTTPUpgradeResult: Sendable {
    public let status: Int
    public let headers: HTTPHeaders
    /// The body of a refusal, up to 1 MiB of it.
    public let bodyIfRefused: [UInt8]
    /// There when the status is 101. Whoever takes it closes it.
    public let connection: UpgradedConnection?
}

/// The client's side of an upgrade: `exec`, `attach` and `portforward` on their way to a kubelet.
public enum HTTPUpgrade {
    /// Connects, sends the head, and returns with the raw connection if the server agrees. `Host`, and `Connection:
    /// Upgrade` when `headers` name an `Upgrade`, are added if missing.
    public static func connect(
        host: String, port: Int, tls: HTTPClientTLS?, method: String, target: String, headers: HTTPHeaders,
        timeout: TimeAmount = .seconds(10)
    ) async throws -> HTTPUpgradeResult {
        let queue = InboundQueue<HTTPClientResponsePart>(highWatermark: 256 << 10) { part in
            if case .body(let buffer) = part { buffer.readableBytes + 64 } else { 1024 }
        }
        let context = try tls?.makeContext()
        // An address is never a name to ask for: the certificate is then checked against the address itself.
        let name = tls?.serverName ?? host
        let serverName = IPAddress(name) == nil ? name : nil
        let raw = RawBytes.makeQueue()
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(timeout)
                .channelOption(.allowRemoteHalfClosure, value: true)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if let context {
                            try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName))
                        }
                        try pipeline.addHandler(UpgradeSplitter(raw))
                        try pipeline.addHandler(HTTPRequestEncoder(), name: HandlerName.encoder)
                        let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes)
                        try pipeline.addHandler(ByteToMessageHandler(decoder), name: HandlerName.decoder)
                        try pipeline.addHandler(InboundHandler(queue), name: HandlerName.bridge)
                    }
                }.connect(host: host, port: port).get()
        } catch {
            throw HTTPServingError("cannot connect to \(host):\(port): \(error)")
        }
        do {
            return try await withTaskCancellationHandler {
                try await negotiate(channel, queue, raw, head(method, target, headers, host, port), timeout)
            } onCancel: {
                channel.startClosing()
            }
        } catch {
            await channel.closeFully()
            throw error
        }
    }

    private static func head(
        _ method: String, _ target: String, _ headers: HTTPHeaders, _ host: String, _ port: Int
    ) -> HTTPRequestHead {
        var headers = headers
        if !headers.contains(name: "host") {
            headers.add(name: "Host", value: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
        }
        if headers.contains(name: "upgrade"), !headers.contains(name: "connection") {
            headers.add(name: "Connection", value: "Upgrade")
        }
        // The request has no body, and says so where a server would otherwise wait for one.
        if method == "POST" || method == "PUT" { headers.replaceOrAdd(name: "Content-Length", value: "0") }
        return HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: method), uri: target, headers: headers)
    }

    private static func negotiate(
        _ channel: any Channel, _ queue: InboundQueue<HTTPClientResponsePart>, _ raw: InboundQueue<ByteBuffer>,
        _ head: HTTPRequestHead, _ timeout: TimeAmount
    ) async throws -> HTTPUpgradeResult {
        let timer = channel.eventLoop.scheduleTask(in: timeout) {
            queue.finish(
                throwing: HTTPServingError("no answer to the upgrade within \(timeout.nanoseconds / 1_000_000_000) s"))
        }
        defer { timer.cancel() }
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
        guard case .head(let answer)? = try await queue.next() else {
            throw HTTPServingError("the server closed the connection without an answer")
        }
        if answer.status == .switchingProtocols {
            // The decoder leaves the pipeline a turn of the event loop later, and takes what is written until then for
            // its own; nobody has the connection before.
            try await channel.eventLoop.submit {}.get()
            return HTTPUpgradeResult(
                status: 101, headers: answer.headers, bodyIfRefused: [],
                connection: UpgradedConnection(channel: channel, queue: raw))
        }
        var body: [UInt8] = []
        while body.count < 1 << 20, case .body(let buffer)? = try await queue.next() {
            body += buffer.readableBytesView
        }
        await channel.closeFully()
        return HTTPUpgradeResult(
            status: Int(answer.status.code), headers: answer.headers, bodyIfRefused: body, connection: nil)
    }
}
