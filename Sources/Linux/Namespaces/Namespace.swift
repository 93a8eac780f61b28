// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// The kinds of namespaces Catbird makes and enters.
public enum NamespaceKind: String, Sendable, Hashable, CaseIterable {
    case mount = "mnt"
    case uts
    case ipc
    case net
    case pid
    case cgroup
    case user

    /// The flag of setns(2) and unshare(2).
    public var flag: Int32 {
        switch self {
        case .mount: Int32(CATBIRD_CLONE_NEWNS)
        case .uts: Int32(CATBIRD_CLONE_NEWUTS)
        case .ipc: Int32(CATBIRD_CLONE_NEWIPC)
        case .net: Int32(CATBIRD_CLONE_NEWNET)
        case .pid: Int32(CATBIRD_CLONE_NEWPID)
        case .cgroup: Int32(CATBIRD_CLONE_NEWCGROUP)
        case .user: Int32(CATBIRD_CLONE_NEWUSER)
        }
    }
}

/// Names a namespace: by the file it is pinned to, by a descriptor, or by a process in it.
public enum NamespaceRef: Sendable, Hashable, CustomStringConvertible {
    case path(String)
    /// Stays owned by whoever made the reference, and open while it is used.
    case fd(Int32)
    case pid(Int32)

    /// A descriptor of its own for the namespace.
    public func open(_ kind: NamespaceKind) throws(Errno) -> FileDescriptor {
        switch self {
        case .path(let path): return try FileDescriptor.open(path)
        case .fd(let fd):
            return FileDescriptor(owning: try check("dup", "\(fd)") { catbird_dup_cloexec(fd) })
        case .pid(let pid): return try FileDescriptor.open("/proc/\(pid)/ns/\(kind.rawValue)")
        }
    }

    /// Says which namespace it is: two references are to the same one when these are equal.
    public func identity(_ kind: NamespaceKind) throws(Errno) -> NamespaceIdentity {
        let file = try open(kind)
        var info = stat()
        try check("fstat", description) { fstat(file.rawValue, &info) }
        return NamespaceIdentity(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
    }

    public var description: String {
        switch self {
        case .path(let path): path
        case .fd(let fd): "descriptor \(fd)"
        case .pid(let pid): "process \(pid)"
        }
    }
}

/// What tells namespaces apart.
public struct NamespaceIdentity: Sendable, Hashable {
    public let device: UInt64
    public let inode: UInt64
}
