// SPDX-License-Identifier: Apache-2.0

extension Addons {
    /// The pool that pods get their addresses from where nobody asks for another, and what Calico's clients read to know
    /// a cluster.
    var addressing: String {
        """
        ---
        apiVersion: crd.projectcalico.org/v1
        kind: IPPool
        metadata:
          name: \(Self.defaultPool)
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

    /// The name that Calico gives the pool of a first start.
    static let defaultPool = "default-ipv4-ippool"
}
