// SPDX-License-Identifier: Apache-2.0

public import PKI
public import Values

/// The settings of the controllers. Every duration may be short in tests.
public struct ControllerConfiguration: Sendable {
    /// What pods trust: published as ConfigMap `kube-root-ca.crt` in every namespace.
    public var clusterCACertificatePEM: String
    /// Signs what CertificateSigningRequests ask for; nil leaves that to a signer from outside.
    public var certificateAuthority: CertificateAuthority?
    /// How long a certificate is good at most.
    public var certificateDuration: Duration
    /// Signs the tokens in Secrets of type `kubernetes.io/service-account-token`; nil leaves these Secrets empty.
    public var tokenSigner: TokenSigner?
    /// A token in a Secret that was made automatically and is not used for so long becomes invalid, and after as long
    /// again its Secret is deleted.
    public var legacyTokenPeriod: Duration
    /// Where addresses of Services of type LoadBalancer come from; nil leaves them pending.
    public var loadBalancerCIDR: CIDR?
    /// Without a renewed Lease or status for so long, a node counts as unreachable.
    public var nodeGracePeriod: Duration
    /// How long events are kept.
    public var eventTTL: Duration
    /// How long an address whose pod is gone stays allocated before it is taken back; and how old one must be that
    /// no Service has.
    public var addressGracePeriod: Duration
    /// Finished pods beyond so many are deleted, the oldest first.
    public var finishedPodLimit: Int
    /// Several control planes: only the holder of the Lease works.
    public var electsLeader: Bool
    /// Who holds the Lease, should there be an election.
    public var identity: String

    public init(
        clusterCACertificatePEM: String, certificateAuthority: CertificateAuthority? = nil,
        certificateDuration: Duration = .seconds(365 * 86400), tokenSigner: TokenSigner? = nil,
        legacyTokenPeriod: Duration = .seconds(365 * 86400),
        loadBalancerCIDR: CIDR? = CIDR("192.168.49.192/26"),
        nodeGracePeriod: Duration = .seconds(50), eventTTL: Duration = .seconds(3600),
        addressGracePeriod: Duration = .seconds(60), finishedPodLimit: Int = 12500, electsLeader: Bool = false,
        identity: String = "catbird"
    ) {
        self.clusterCACertificatePEM = clusterCACertificatePEM
        self.certificateAuthority = certificateAuthority
        self.certificateDuration = certificateDuration
        self.tokenSigner = tokenSigner
        self.legacyTokenPeriod = legacyTokenPeriod
        self.loadBalancerCIDR = loadBalancerCIDR
        self.nodeGracePeriod = nodeGracePeriod
        self.eventTTL = eventTTL
        self.addressGracePeriod = addressGracePeriod
        self.finishedPodLimit = finishedPodLimit
        self.electsLeader = electsLeader
        self.identity = identity
    }
}
