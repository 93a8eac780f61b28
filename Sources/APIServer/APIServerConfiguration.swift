// SPDX-License-Identifier: Apache-2.0

public import Logging
public import PKI
public import Values

/// What an API server is told of the cluster it serves.
public struct APIServerConfiguration: Sendable {
    /// Signs and checks the tokens of service accounts.
    public var tokenSigner: TokenSigner
    /// The `iss` of these tokens, and the audience of those for the server itself.
    public var issuer: String
    /// The authority of the cluster's certificates: clients are known by certificates of it.
    public var clientCAPEM: String
    /// The server's own certificate and key; needed only to serve HTTPS.
    public var certificatePEM: String
    public var privateKeyPEM: String
    /// What the server shows to kubelets when it passes on exec, logs and port-forward.
    public var kubeletClientCertificatePEM: String
    public var kubeletClientKeyPEM: String
    public var kubeletPort: Int
    public var serviceCIDR: CIDR
    public var nodePorts: ClosedRange<Int>
    /// Where the `kubernetes` Service leads: never to loopback, which is another machine for each who reads it. A server that
    /// nobody is led to has an address of RFC 5737.
    public var advertiseAddress: IPAddress
    public var advertisePort: Int
    /// Where HTTPS is served.
    public var bindHost: String
    public var bindPort: Int
    public var version: String
    /// How long history is kept for lists that are continued and watches that are resumed; nil keeps all of it.
    public var compactionInterval: Duration?
    public var logger: Logger
    /// The folder whose files `/logs/` shows; nil shows none.
    public var logDirectory: String?
    /// Where requests for the address of a pod, a Service's endpoint or a node are sent; nil refuses them. Others than
    /// addresses of machines in a network would lead whoever may write a pod's status to what listens on the server's
    /// own loopback.
    public var route: @Sendable (IPAddress) -> IPAddress? = { $0.isGlobalUnicast ? $0 : nil }

    public init(
        tokenSigner: TokenSigner, issuer: String = "https://kubernetes.default.svc.cluster.local",
        clientCAPEM: String = "", certificatePEM: String = "", privateKeyPEM: String = "",
        kubeletClientCertificatePEM: String = "", kubeletClientKeyPEM: String = "", kubeletPort: Int = 10250,
        serviceCIDR: CIDR = .defaultServices, nodePorts: ClosedRange<Int> = 30000...32767,
        advertiseAddress: IPAddress = IPAddress(192, 0, 2, 1), advertisePort: Int = 8443,
        bindHost: String = "0.0.0.0", bindPort: Int = 8443, version: String = "v1.36.2",
        compactionInterval: Duration? = .seconds(300), logger: Logger = Logger(label: "catbird.apiserver")
    ) {
        self.tokenSigner = tokenSigner
        self.issuer = issuer
        self.clientCAPEM = clientCAPEM
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
        self.kubeletClientCertificatePEM = kubeletClientCertificatePEM
        self.kubeletClientKeyPEM = kubeletClientKeyPEM
        self.kubeletPort = kubeletPort
        self.serviceCIDR = serviceCIDR
        self.nodePorts = nodePorts
        self.advertiseAddress = advertiseAddress
        self.advertisePort = advertisePort
        self.bindHost = bindHost
        self.bindPort = bindPort
        self.version = version
        self.compactionInterval = compactionInterval
        self.logger = logger
    }
}

extension CIDR {
    /// 10.96.0.0/12: what kubeadm and minikube take.
    public static let defaultServices = CIDR(host: IPAddress(10, 96, 0, 0)).widened(to: 12)

    private func widened(to prefixLength: Int) -> CIDR { CIDR(address, prefixLength) ?? self }
}
