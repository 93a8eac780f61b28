// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// Mounting and unmounting in the calling thread's mount namespace.
public enum Mounts {
    public struct Flags: OptionSet, Sendable, Hashable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }

        public static let readOnly = Flags(rawValue: 1)
        public static let noSuid = Flags(rawValue: 2)
        public static let noDev = Flags(rawValue: 4)
        public static let noExec = Flags(rawValue: 8)
        public static let noAtime = Flags(rawValue: 1024)
        public static let relatime = Flags(rawValue: 1 << 21)
    }

    public enum Propagation: String, Sendable, Hashable {
        case `private`, slave, shared, unbindable

        var flag: UInt {
            switch self {
            case .unbindable: 1 << 17
            case .private: 1 << 18
            case .slave: 1 << 19
            case .shared: 1 << 20
            }
        }
    }

    private static let remountFlag: UInt = 32
    private static let bindFlag: UInt = 4096
    private static let moveFlag: UInt = 8192
    private static let recursiveFlag: UInt = 16384

    /// mount(2) as it is.
    public static func mount(
        _ source: String, onto target: String, type: String, flags: Flags = [], options: String = ""
    ) throws(Errno) {
        try call(source, target, type, flags.rawValue, options)
    }

    private static func call(
        _ source: String, _ target: String, _ type: String?, _ flags: UInt, _ options: String = ""
    ) throws(Errno) {
        let detail = "\(source.isEmpty ? "none" : source) on \(target)" + (type.map { " (\($0))" } ?? "")
        try check("mount", detail) {
            options.withCString { text in
                Glibc.mount(source, target, type, flags, options.isEmpty ? nil : UnsafeRawPointer(text))
            }
        }
    }

    /// Makes a file or folder visible at a second place.
    ///
    /// - Parameter recursive: with everything mounted below it.
    public static func bind(
        _ source: String, onto target: String, recursive: Bool = false, readOnly: Bool = false, flags: Flags = []
    ) throws(Errno) {
        try call(source, target, nil, bindFlag | (recursive ? recursiveFlag : 0))
        let wanted = readOnly ? flags.union(.readOnly) : flags
        if !wanted.isEmpty { try remountBind(target, wanted) }
    }

    /// Changes the flags of a bind mount; those it has and that cannot be taken off stay.
    public static func remountBind(_ target: String, _ flags: Flags) throws(Errno) {
        var info = statvfs()
        let kept = statvfs(target, &info) == 0 ? UInt(info.f_flag) & 0xF : 0
        try call("", target, nil, remountFlag | bindFlag | flags.rawValue | (kept & ~1))
    }

    /// Makes a mount and all below it read-only, as far as they allow it.
    public static func makeReadOnly(recursively target: String) throws(Errno) {
        try remountBind(target, .readOnly)
        for entry in try list() where entry.isBelow(target) {
            do { try remountBind(entry.target, .readOnly) } catch  where error.code == EPERM || error.code == EBUSY {}
        }
    }

    /// Mounts `lower` folders, the lowest first, with an optional writable layer on top.
    public static func overlay(
        lower: [String], upper: String? = nil, work: String? = nil, onto target: String, options: [String] = []
    ) throws(Errno) {
        // Colons and commas separate, so they are escaped; the uppermost folder comes first in the option.
        func escaped(_ path: String) -> String {
            var result = ""
            for character in path {
                if character == "\\" || character == ":" || character == "," { result.append("\\") }
                result.append(character)
            }
            return result
        }
        var parts = ["lowerdir=" + lower.reversed().map(escaped).joined(separator: ":")]
        if let upper { parts.append("upperdir=" + escaped(upper)) }
        if let work { parts.append("workdir=" + escaped(work)) }
        let text = (parts + options).joined(separator: ",")
        guard text.utf8.count < 4096 else {
            throw Errno(
                code: E2BIG, call: "mount",
                detail: "overlay on \(target): the paths of \(lower.count) layers do not fit in one page")
        }
        try call("overlay", target, "overlay", upper == nil ? Flags.readOnly.rawValue : 0, text)
    }

    public static func tmpfs(
        onto target: String, size: String? = nil, mode: UInt32 = 0o755, flags: Flags = [.noSuid, .noDev]
    ) throws(Errno) {
        let options = "mode=\(String(mode, radix: 8))" + (size.map { ",size=\($0)" } ?? "")
        try call("tmpfs", target, "tmpfs", flags.rawValue, options)
    }

    public static func proc(onto target: String) throws(Errno) {
        try call("proc", target, "proc", Flags([.noSuid, .noDev, .noExec]).rawValue)
    }

    /// Shows the network devices of the calling thread's network namespace.
    public static func sysfs(onto target: String, readOnly: Bool = false) throws(Errno) {
        let flags: Flags = [.noSuid, .noDev, .noExec]
        try call("sysfs", target, "sysfs", (readOnly ? flags.union(.readOnly) : flags).rawValue)
    }

    public static func devpts(onto target: String) throws(Errno) {
        try call("devpts", target, "devpts", Flags([.noSuid, .noExec]).rawValue, "newinstance,ptmxmode=0666,mode=0620")
    }

    public static func mqueue(onto target: String) throws(Errno) {
        try call("mqueue", target, "mqueue", Flags([.noSuid, .noDev, .noExec]).rawValue)
    }

    public static func move(_ source: String, onto target: String) throws(Errno) {
        try call(source, target, nil, moveFlag)
    }

    public static func setPropagation(_ target: String, _ propagation: Propagation, recursive: Bool = false)
        throws(Errno)
    {
        try call("", target, nil, propagation.flag | (recursive ? recursiveFlag : 0))
    }

    /// Unmounts. Nothing mounted there is no error.
    ///
    /// - Parameter detach: it disappears at once, and ends when it is no longer in use.
    public static func unmount(_ target: String, detach: Bool = true) throws(Errno) {
        try unmount(Array(target.utf8), detach: detach)
    }

    private static func unmount(_ target: [UInt8], detach: Bool) throws(Errno) {
        let noFollow: Int32 = 8
        let path = target.map { CChar(bitPattern: $0) } + [0]
        if umount2(path, (detach ? Int32(MNT_DETACH) : 0) | noFollow) == 0 { return }
        if errno == EINVAL || errno == ENOENT { return }
        throw Errno("umount2", String(decoding: target, as: UTF8.self))
    }

    /// Unmounts everything at or below `path`, the innermost first.
    public static func unmountAll(below path: String) throws(Errno) {
        for entry in try list().reversed() where entry.target == path || entry.isBelow(path) {
            try unmount(entry.targetBytes, detach: true)
        }
    }

    /// Makes `newRoot`, which must be a mount point, the root of the calling thread's mount namespace, and lets the old
    /// root go.
    public static func pivotRoot(into newRoot: String) throws(Errno) {
        try check("chdir", newRoot) { chdir(newRoot) }
        // Old and new root on top of each other: no folder for the old one is needed.
        try check("pivot_root", newRoot) { catbird_pivot_root(".", ".") }
        try check("umount2", "old root") { umount2(".", Int32(MNT_DETACH)) }
        try check("chdir", "/") { chdir("/") }
    }
}
