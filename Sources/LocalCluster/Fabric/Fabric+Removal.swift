// SPDX-License-Identifier: Apache-2.0
import Glibc
public import Linux

extension Fabric {
    /// Removes the fabric; what is not there is no error. Nodes are removed by
    /// ``NodeNamespaces/destroy(removeFiles:)``.
    public func destroy() throws { try removeFabric() }

    func removeFabric() throws { try Self.removeFabric(names) }

    static func removeFabric(_ names: FabricNames) throws {
        let machine = try FolderLock.hold(names.stateDirectory)
        defer { machine.release() }
        try removeFabricHoldingLock(names)
    }

    static func removeFabricHoldingLock(_ names: FabricNames) throws {
        let host = try NetlinkSocket()
        // By name, and by what is written on it: the name's hash may have changed between versions.
        for link in try host.links() where link.name == names.hostLink || link.alias == names.linkAlias {
            try host.deleteLink(index: link.index)
        }
        var tables = try NFTables()
        if try tables.tables(family: "ip").contains(where: { $0.name == names.table }) {
            try tables.deleteTable(family: "ip", name: names.table)
        }
        try restoreSettings(names)
        try Namespaces.unpin(names.fabricNamespace)
        for folder in ["\(names.runFolder)/fabric/ns", "\(names.runFolder)/fabric"] { rmdir(folder) }
    }

    /// Removes everything of a profile that is on this machine, found by names and paths alone: also after all its
    /// processes were killed. The caller ends the profile's supervisor first, or it would make things anew.
    ///
    /// - Parameters:
    ///   - removeFiles: the nodes' file systems too. What else is in the profile's folder is the caller's.
    ///   - host: the network namespace that plays the host; nil for this process's own.
    public static func destroyEverything(
        profile: ProfileName, runDirectory: String = "/run/catbird", stateDirectory: String = "/var/lib/catbird",
        removeFiles: Bool, host: NamespaceRef? = nil
    ) async throws {
        let names = FabricNames(profile: profile, runDirectory: runDirectory, stateDirectory: stateDirectory)
        let layout = try CgroupLayout.detect()
        var nodes: Set<String> = []
        for folder in [names.nodesFolder] + layout.hierarchies.map({ $0.path(of: names.cgroup) }) {
            for entry in (try? Files.list(folder)) ?? [] where entry.kind == .directory { nodes.insert(entry.name) }
        }
        if removeFiles {
            for entry in (try? Files.list(names.nodesStateFolder)) ?? [] { nodes.insert(entry.name) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes {
                group.addTask {
                    let namespaces = NodeNamespaces(
                        NodeNamespaces.Configuration(
                            profile: profile, name: node, runDirectory: runDirectory, stateDirectory: stateDirectory))
                    try await namespaces.destroy(removeFiles: removeFiles)
                }
            }
            try await group.waitForAll()
        }
        try await Namespaces.enter(Namespaces.Target(net: host)) { try removeFabric(names) }
        try await layout.destroy(names.cgroup)
        let machine = try await FolderLock.acquire(stateDirectory, mode: 0o755) { _ in }
        defer { machine.release() }
        // Catbird's own root group goes with the last profile; a group that has others in it stays.
        for hierarchy in layout.hierarchies { rmdir(hierarchy.path(of: "/catbird")) }
        if removeFiles { rmdir(names.nodesStateFolder) }
        rmdir(names.nodesFolder)
        rmdir(names.runFolder)
        rmdir(runDirectory)
    }
}
