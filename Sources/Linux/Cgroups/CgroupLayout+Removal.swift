// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

extension CgroupLayout {
    /// Kills every process in a group and below, and returns when none is left. Processes that start others while they
    /// are being killed are stopped first, where the machine has a freezer; this process itself is spared.
    ///
    /// - Throws: `ETIMEDOUT` with the processes that do not end in spite of it.
    public func killAll(in group: String) async throws(Errno) {
        while true {
            let pids = processes(in: group).subtracting([getpid()])
            if pids.isEmpty { return }
            freeze(group)
            var waiting: [ChildProcess] = []
            for pid in processes(in: group).subtracting([getpid()]) {
                do throws(Errno) {
                    let process = try ChildProcess.adopt(pid)
                    // The number may have passed to somebody else between reading and opening it.
                    guard isMember(pid, of: group) else { continue }
                    try process.signal(SIGKILL)
                    waiting.append(process)
                } catch  where error.code == ESRCH {
                    continue
                }
            }
            thaw(group)
            if let stuck = await ChildProcess.endAll(waiting).first {
                throw Errno(code: ETIMEDOUT, call: "kill", detail: "\(stuck)")
            }
        }
    }

    /// By what the process itself says: in some hierarchy it is in the group or below.
    private func isMember(_ pid: Int32, of group: String) -> Bool {
        let name = group.hasPrefix("/") ? group : "/" + group
        return ((try? Files.text("/proc/\(pid)/cgroup")) ?? "").split(separator: "\n").contains { line in
            let path = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).last ?? ""
            return path == name || path.hasPrefix(name + "/")
        }
    }

    private func freeze(_ group: String) {
        if let hierarchy = hierarchy(of: "freezer"), !hierarchy.isUnified {
            try? Files.write("\(hierarchy.path(of: group))/freezer.state", "FROZEN")
        } else if mode == .v2, let hierarchy = hierarchies.first {
            try? Files.write("\(hierarchy.path(of: group))/cgroup.freeze", "1")
        }
    }

    private func thaw(_ group: String) {
        if let hierarchy = hierarchy(of: "freezer"), !hierarchy.isUnified {
            // Of v1 a killed process dies only when it thaws, and a container that was paused is frozen by itself.
            for folder in tree(group, in: hierarchy) { try? Files.write("\(folder)/freezer.state", "THAWED") }
        } else if mode == .v2, let hierarchy = hierarchies.first {
            try? Files.write("\(hierarchy.path(of: group))/cgroup.freeze", "0")
        }
    }

    /// Removes a group and those below it from every hierarchy. Processes must have gone; a group that is not there is
    /// no error. Throws `EBUSY` with the processes that are still in it.
    public func remove(_ group: String) async throws(Errno) {
        guard !group.split(separator: "/").isEmpty else {
            throw Errno(code: EINVAL, call: "rmdir", detail: "the root of the control groups")
        }
        for hierarchy in hierarchies {
            for folder in tree(group, in: hierarchy) { try await removeFolder(folder) }
        }
    }

    private func removeFolder(_ folder: String) async throws(Errno) {
        for attempt in 0..<200 {
            if rmdir(folder) == 0 || errno == ENOENT { return }
            guard errno == EBUSY else { throw Errno("rmdir", folder) }
            let pids = ((try? Files.text("\(folder)/cgroup.procs")) ?? "").split(separator: "\n")
            if !pids.isEmpty, attempt > 20 {
                throw Errno(code: EBUSY, call: "rmdir", detail: "\(folder): still has \(pids.joined(separator: ", "))")
            }
            // The last process has ended, but the kernel takes it off the group a moment later, and of v1 groups it
            // tells nobody when: there is no event to wait for.
            try? await Task.sleep(for: .milliseconds(2))
        }
        throw Errno(code: EBUSY, call: "rmdir", detail: folder)
    }

    /// Removes a group that may still have processes: kills them, waits for them, removes it.
    public func destroy(_ group: String) async throws(Errno) {
        try await killAll(in: group)
        try await remove(group)
    }
}
