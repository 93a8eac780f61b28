// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization

/// A place of the kubelet's own where a part of a volume, or of the node, is mounted for a container to be given.
struct MountPoint {
    let path: String

    init(_ path: String) { self.path = path }

    /// Makes the folder of such places. It is a mount of its own that is never copied: a copy of the node's root would
    /// bring along the places of all others, and those would be mounted into each other. Nothing that is mounted in it is
    /// seen elsewhere.
    static func prepareFolder(_ folder: String) throws(Errno) {
        let result = preparing.withLock { _ in
            Result { () throws(Errno) in
                try Files.makeDirectories(folder, mode: 0o700)
                if try Mounts.isMountPoint(folder) { return }
                try Mounts.bind(folder, onto: folder)
                try Mounts.setPropagation(folder, .unbindable)
            }
        }
        try result.get()
    }

    /// Containers start side by side; the second of two such mounts would hide what is in the first.
    private static let preparing = Mutex(())

    /// Mounts what is open, in the place of what was mounted there before.
    ///
    /// - Parameter isShared: what a container mounts in it is to be seen where it comes from. Without it, what is mounted
    ///   below comes along, and later mounts come in but never go out: taking it down takes nothing of the node down.
    func bind(_ part: borrowing FileDescriptor, isShared: Bool) throws(Errno) {
        var info = stat()
        guard fstat(part.rawValue, &info) == 0 else { throw Errno("fstat", path) }
        try Files.removeTree(path, detachingMounts: true)
        if info.st_mode & S_IFMT == S_IFDIR {
            try Files.makeDirectories(path, mode: 0o750)
        } else {
            try Files.makeDirectories(Files.directory(of: path), mode: 0o750)
            try Files.touch(path)
        }
        try Mounts.bind(part.path, onto: path, recursive: !isShared)
        if isShared { return }
        do throws(Errno) { try Mounts.setPropagation(path, .slave, recursive: true) } catch {
            // The first failure is told; what stays mounted is taken down with the pod.
            try? Mounts.unmount(path)
            throw error
        }
    }

    /// Makes those mounts at and below it read-only that show the machine, not the node: the kernel's own file systems,
    /// its devices' names, and the layers of images, which all clusters of the machine share. A container that is not
    /// privileged cannot undo it.
    ///
    /// - Returns: whether the place itself is such a mount. Who mounts it further has to say so again: a runtime sets the
    ///   flags of what it mounts, though not of what is mounted below.
    func protectMachine(images: String) throws(Errno) -> Bool {
        var isProtected = false
        let mounts = try Mounts.list()
        let machine = mounts.filter { $0.target == images || $0.target == "/dev" }
        for mount in mounts where mount.target == path || mount.isBelow(path) {
            let isOfMachine = machine.contains { shared in
                shared.device == mount.device
                    && (mount.root == shared.root || shared.root == "/" || mount.root.hasPrefix(shared.root + "/"))
            }
            guard isOfMachine || Self.kernelTypes.contains(mount.type) else { continue }
            try Mounts.remountBind(mount.target, .readOnly)
            if mount.target == path { isProtected = true }
        }
        return isProtected
    }

    private static let kernelTypes: Set<String> = [
        "proc", "sysfs", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "efivarfs",
        "configfs", "selinuxfs", "fusectl", "devtmpfs",
    ]
}
