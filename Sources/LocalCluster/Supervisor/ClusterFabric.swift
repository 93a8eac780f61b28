// SPDX-License-Identifier: Apache-2.0

import Composition
public import Linux
import PKI
import Values

/// The network and the nodes of a profile, as its supervisor makes and removes them.
struct ClusterFabric: Sendable {
    let profile: Profile
    let paths: ProfilePaths
    /// The `catbird` program; `catbird-cni` lies beside it.
    let executable: String

    var fabric: Fabric {
        Fabric(
            profile: profile.name, plan: profile.plan, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot)
    }

    func create() async throws {
        let fabric = fabric
        try await OwnThread.run(awaiting: { try fabric.create() })
    }

    /// Makes the node and puts it on its rack; what is there already stays.
    func attach(_ node: Profile.Node) async throws -> NodeNamespaces {
        let folder = Files.directory(of: executable)
        let fabric = fabric
        try Files.makeDirectories(paths.machine.images, mode: 0o755)
        let namespaces = NodeNamespaces(
            NodeNamespaces.Configuration(
                profile: profile.name, name: node.name, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot,
                binds: [NodeNamespaces.Bind(paths.machine.images, at: "/var/lib/catbird/images")],
                binaries: ["catbird": executable, "catbird-cni": "\(folder)/catbird-cni"],
                hosts: profile.nodes.map { ($0.address, [$0.name]) }, resolvers: fabric.resolvers))
        let isNew = !namespaces.exists
        try await namespaces.create()
        try writeIdentity(node, namespaces, isNew: isNew)
        try await OwnThread.run(awaiting: { try fabric.attach(node, to: namespaces.net) })
        return namespaces
    }

    /// What the node's kubelet finds at the usual paths: who it is, its keys, and where the API is.
    private func writeIdentity(_ node: Profile.Node, _ namespaces: NodeNamespaces, isNew: Bool) throws {
        guard let first = profile.controlPlaneNode else { return }
        let pki = try ProfilePKI(paths: paths)
        let serving = try pki.kubeletServer(node.name, address: node.address)
        let client = try pki.node(node.name)
        let kubeconfig = Kubeconfig.document(
            profile: profile.name.text, server: "https://\(first.address):\(Profile.apiPort)",
            certificateAuthorityPEM: pki.authority.certificatePEM, credentials: client)
        let description = NodeProcess.Description(
            name: node.name, address: node.address, zone: profile.plan.rack(of: node)?.name ?? "",
            clusterDNS: ClusterReadiness.dnsAddress, clusterDomain: "cluster.local",
            builtinImages: profile.builtinImages, cgroup: namespaces.cgroup,
            pulls: profile.pulls.description(
                ranges: profile.plan.racks.map(\.subnet) + Profile.clusterRanges))
        let files = [
            ("pki/kubelet.crt", serving.certificatePEM), ("pki/kubelet.key", serving.privateKeyPEM),
            ("pki/ca.crt", pki.authority.certificatePEM), ("kubeconfig", kubeconfig.text(indent: 2)),
            ("config.json", description.json.text(indent: 2)),
        ]
        // Pods may have the node's root in their hands: links in it must not lead to the host's files.
        try Files.withRoot(namespaces.root) {
            // The node boots: its network is not ready until its agent says so again.
            if isNew { try Files.removeTree("/etc/cni/net.d") }
            try Files.makeDirectories("\(NodeProcess.folder)/pki", mode: 0o700)
            for (name, text) in files {
                try Files.replace("\(NodeProcess.folder)/\(name)", with: Array(text.utf8), mode: 0o600)
            }
        }
    }

    func detach(_ node: Profile.Node, removingDisk: Bool) async throws {
        let namespaces = NodeNamespaces(
            NodeNamespaces.Configuration(
                profile: profile.name, name: node.name, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot))
        try await namespaces.destroy(removeFiles: removingDisk)
        let fabric = fabric
        try await OwnThread.run(awaiting: { try fabric.detach(node) })
    }

    /// Removes what is there of a profile, however it got there. Disks stay unless `removingDisks`.
    static func destroy(paths: ProfilePaths, removingDisks: Bool = false) async throws {
        try await Fabric.destroyEverything(
            profile: paths.profile, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot,
            removeFiles: removingDisks)
    }
}

/// The namespaces of nodes as other commands enter them.
public enum NodeAccess {
    public static func namespaces(of node: String, in profile: ProfileName) -> Namespaces.Target {
        let paths = ProfileStore().paths(profile)
        return NodeNamespaces(
            NodeNamespaces.Configuration(
                profile: profile, name: node, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot)
        ).target
    }
}
