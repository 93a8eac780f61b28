// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Values

extension NodeNamespaces {
    /// Ends every process of the node, and removes its namespaces with all that is mounted in them, and its control
    /// groups. What is not there is no error.
    ///
    /// - Parameter removeFiles: its file system too.
    public func destroy(removeFiles: Bool) async throws {
        let layout = try CgroupLayout.detect()
        try await layout.killAll(in: cgroup)
        try await killStrays()
        let node = self
        try await OwnThread.run(awaiting: {
            for kind in Self.kindsToRemove { try Namespaces.unpin(node.pin(kind)) }
            // Links go with their namespace, but later; nothing of the node may be seen when this returns.
            unlink(node.initFile)
            for folder in ["\(node.runFolder)/ns", node.runFolder] { rmdir(folder) }
        })
        try await layout.remove(cgroup)
        guard removeFiles else { return }
        let folder = stateFolder
        try await OwnThread.run(awaiting: {
            try Files.removeTree(folder, detachingMounts: true)
        })
    }

    private static var kindsToRemove: [NamespaceKind] { [.mount, .net, .uts, .pid] }

    /// Processes that are in the node's namespaces and not in its groups: those that were put elsewhere, or entered by
    /// themselves.
    private func killStrays() async throws {
        var identities: [(NamespaceKind, NamespaceIdentity)] = []
        for kind in [NamespaceKind.mount, .net] where Namespaces.isPinned(pin(kind)) {
            identities.append((kind, try NamespaceRef.path(pin(kind)).identity(kind)))
        }
        if identities.isEmpty { return }
        while true {
            var killed: [ChildProcess] = []
            for entry in try Files.list("/proc") {
                guard let pid = Int32(entry.name), pid != getpid() else { continue }
                // Processes come and go while they are looked at.
                let isInside = identities.contains { kind, identity in
                    (try? NamespaceRef.pid(pid).identity(kind)) == identity
                }
                guard isInside, let process = try? ChildProcess.adopt(pid) else { continue }
                killed.append(process)
            }
            if killed.isEmpty { return }
            if let stuck = await ChildProcess.endAll(killed).first { throw stuck }
        }
    }
}
