// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// Crun refuses machines where some controllers are v1's and the unified hierarchy offers others, although it needs none
/// of those. It looks at one file, which is hidden from it in a mount namespace of its own.
public enum CgroupView {
    private static let file = "/sys/fs/cgroup/unified/cgroup.controllers"

    /// Whether crun would refuse in the calling process's mount namespace.
    public static var needsHiding: Bool {
        guard let bytes = try? Files.read(file) else { return false }
        return !bytes.isEmpty
    }

    /// Hides the file in a node's file system while that is being made.
    package static func hide(below root: String) throws {
        if needsHiding { try Mounts.bind("/dev/null", onto: root + file) }
    }

    /// Hides the file in this process's mount namespace, if that is not the machine's own and the mount would stay in
    /// it. Nodes do it once, so that containers start without a detour.
    @discardableResult
    public static func hideIfPrivate() -> Bool {
        guard needsHiding, let own = try? NamespaceRef.path("/proc/self/ns/mnt").identity(.mount),
            let machine = try? NamespaceRef.path("/proc/1/ns/mnt").identity(.mount), own != machine,
            let mounts = try? Mounts.list(),
            let mount = mounts.last(where: { $0.target == "/sys/fs/cgroup/unified" }), !mount.isShared
        else { return false }
        return (try? Mounts.bind("/dev/null", onto: file)) != nil
    }

    /// The command with the file hidden from it and its descendants.
    static func wrap(_ path: String, _ arguments: [String]) -> (path: String, arguments: [String]) {
        guard needsHiding else { return (path, arguments) }
        let script =
            "mount --make-private /sys/fs/cgroup/unified && mount --bind /dev/null \(file) && exec \"$0\" \"$@\""
        return ("unshare", ["-m", "--propagation", "unchanged", "sh", "-c", script, path] + arguments)
    }
}
