// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Logging
import Synchronization
import Values

extension Runtime {
    /// Removes what lies on disk, is mounted or runs here and belongs to no sandbox and no container that is known: what
    /// instances left that were killed between two steps, or whose records were lost.
    ///
    /// What is being made now is known before anything of it is there; so the places are read first, and each of their
    /// entries is held against what is known after that.
    ///
    /// - Returns: what could not be removed, in words.
    public func removeOrphans() async -> [String] {
        var failures: [String] = []
        func attempt(_ what: String, _ body: () async throws -> Void) async {
            do { try await body() } catch { failures.append("\(what): \(error)") }
        }
        // Containers of a sandbox that is none any more: with it went the only one that would remove them.
        let strays = state.withLock { state in
            state.containers.values.filter { state.sandboxes[$0.status.sandboxID] == nil }.map(\.status.id)
        }
        for id in strays { await attempt("container \(id)") { try await dispose(id) } }
        for name in names(in: paths.bundles) where !isContainer(prefix: name) {
            await attempt("container \(name)") { try await removeBundle(name) }
        }
        for name in names(in: paths.crunRoot) where !isContainer(prefix: String(name.prefix(32))) {
            await attempt("container \(name)") {
                _ = try await runCrun(["delete", "--force", name])
                try Files.removeTree("\(paths.crunRoot)/\(name)")
            }
        }
        for name in names(in: paths.exits) where !isContainer(prefix: String(name.prefix(32))) {
            await attempt("exit of \(name)") { try Files.removeTree("\(paths.exits)/\(name)") }
        }
        for id in names(in: paths.state + "/sandboxes") where state.withLock({ $0.sandboxes[id] == nil }) {
            await attempt("sandbox \(id)") { try removeNamespaces(of: id) }
        }
        await attempt("network attachments") {
            try await cni.removeForgotten { id in state.withLock { $0.sandboxes[id]?.netnsPath != nil } }
        }
        return failures
    }

    private func names(in folder: String) -> [String] { ((try? Files.list(folder)) ?? []).compactMap(\.fileName.text) }

    private func isContainer(prefix: String) -> Bool {
        state.withLock { state in state.containers.keys.contains { $0.hasPrefix(prefix) } }
    }

    /// The monitor first, or it would go on writing; then the file system, which is mounted.
    private func removeBundle(_ name: String) async throws {
        let bundle = "\(paths.bundles)/\(name)"
        for pid in cgroups.processes(in: conmonCgroup) {
            guard let command = try? Files.read("/proc/\(pid)/cmdline"),
                command.split(separator: 0).contains(where: { $0.elementsEqual(bundle.utf8) }),
                let process = try? ChildProcess.adopt(pid)
            else { continue }
            try process.signal(SIGKILL)
            _ = await process.wait()
        }
        try Files.removeTree(bundle, detachingMounts: true)
    }

    /// Lets pinned namespaces go and unmounts the shared memory of a sandbox that has no record.
    private func removeNamespaces(of id: String) throws {
        for kind in [NamespaceKind.net, .uts, .ipc] { try Namespaces.unpin(paths.namespace(id, kind)) }
        try Files.removeTree(paths.sandbox(id), detachingMounts: true)
    }
}
