// SPDX-License-Identifier: Apache-2.0

import KubeClient
public import KubeObjects
import Values
import YAMLCoding

/// What every local cluster carries from its first start: the network, the names, the default pool.
///
/// These are ordinary manifests: on another Kubernetes `catbird manifests | kubectl apply -f -` installs the same.
public struct Addons: Sendable {
    public let apiHost: String
    public let apiPort: Int
    public let podCIDR: String
    public let clusterDNS: String

    public init(
        apiHost: String, apiPort: Int = Profile.apiPort, podCIDR: String = "10.244.0.0/16",
        clusterDNS: String = "10.96.0.10"
    ) {
        self.apiHost = apiHost
        self.apiPort = apiPort
        self.podCIDR = podCIDR
        self.clusterDNS = clusterDNS
    }

    /// Every manifest, in an order in which they can be created.
    ///
    /// - Throws: `YAMLError`, which would be a mistake of the template.
    public func manifests() throws -> [KubeObject] {
        try YAML.documents(calicoNode + coreDNS + addressing).map { KubeObject($0) }
    }

    var addressing: String {
        """
        ---
        apiVersion: crd.projectcalico.org/v1
        kind: IPPool
        metadata:
          name: default-ipv4-ippool
        spec:
          cidr: \(podCIDR)
          blockSize: 26
          ipipMode: Never
          vxlanMode: Always
          natOutgoing: true
          nodeSelector: all()
          allowedUses: [Workload, Tunnel]
        ---
        apiVersion: crd.projectcalico.org/v1
        kind: ClusterInformation
        metadata:
          name: default
        spec:
          calicoVersion: v3.34.0
          clusterType: catbird,k8s,kdd
          datastoreReady: true

        """
    }
}
