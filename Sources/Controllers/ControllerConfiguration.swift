// SPDX-License-Identifier: Apache-2.0

public import Values

/// The settings of the controllers. Every duration may be short in tests.
public struct ControllerConfiguration: Sendable {
    /// What pods trust: published as ConfigMap `kube-root-ca.crt` in every namespace.
    public var clusterCACertificatePEM: String
    /// Where addresses of Services of type LoadBalancer come from; nil leaves them pending.
    public var loadBalancerCIDR: CIDR?
    /// Without a renewed Lease or status for so long, a node counts as unreachable.
    public var nodeGracePeriod: Duration
    /// How long events are kept.
    public var eventTTL: Duration
    /// How long an address whose pod is gone stays allocated before it is taken back.
    public var addressGracePeriod: Duration
    /// Finished pods beyond so many are deleted, the oldest first.
    public var finishedPodLimit: Int
    /// Several control planes: only the holder of the Lease works.
    public var electsLeader: Bool
    /// Who holds the Lease, should there be an election.
    public var identity: String

    public init(
        clusterCACertificatePEM: String, loadBalancerCIDR: CIDR? = CIDR("192.168.49.192/26"),
        nodeGracePeriod: Duration = .seconds(50), eventTTL: Duration = .seconds(3600),
        addressGracePeriod: Duration = .seconds(60), finishedPodLimit: Int = 12500, electsLeader: Bool = false,
        identity: String = "catbird"
    ) {
        self.clusterCACertificatePEM = clusterCACertificatePEM
        self.loadBalancerCIDR = loadBalancerCIDR
        self.nodeGracePeriod = nodeGracePeriod
        self.eventTTL = eventTTL
        self.addressGracePeriod = addressGracePeriod
        self.finishedPodLimit = finishedPodLimit
        self.electsLeader = electsLeader
        self.identity = identity
    }
}
