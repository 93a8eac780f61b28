// SPDX-License-Identifier: Apache-2.0
import Glibc

/// One line of /proc/self/mountinfo.
public struct MountInfo: Sendable, Hashable {
    public let id: Int
    public let parentID: Int
    /// The folder of the file system that is mounted.
    public let root: String
    public let target: String
    public let options: [String]
    /// `shared:1`, `master:2`, `propagate_from:3`, `unbindable`.
    public let propagation: [String]
    public let type: String
    public let source: String
    public let superOptions: [String]

    public var isReadOnly: Bool { options.contains("ro") || superOptions.contains("ro") }
    public var isShared: Bool { propagation.contains { $0.hasPrefix("shared:") } }

    /// Whether it is mounted below `path`, and not at it.
    public func isBelow(_ path: String) -> Bool {
        path == "/" ? target != "/" : target.hasPrefix(path + "/")
    }

    /// Nil for a line that is not of the kernel's form.
    public init?(line: some StringProtocol) {
        let fields = line.split(separator: Character(" ")).map { String($0) }
        guard let dash = fields.indices.dropFirst(6).first(where: { fields[$0] == "-" }), fields.count >= dash + 3,
            let id = Int(fields[0]), let parentID = Int(fields[1])
        else { return nil }
        self.id = id
        self.parentID = parentID
        root = Self.unescaped(fields[3])
        target = Self.unescaped(fields[4])
        options = fields[5].split(separator: ",").map(String.init)
        propagation = Array(fields[6..<dash])
        type = fields[dash + 1]
        source = Self.unescaped(fields[dash + 2])
        superOptions = dash + 3 < fields.count ? fields[dash + 3].split(separator: ",").map(String.init) : []
    }

    /// The kernel writes space, tab, newline and backslash as three octal digits.
    static func unescaped(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "\\")) else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "\\"), bytes.count - index > 3,
                let value = UInt8(String(decoding: bytes[(index + 1)...(index + 3)], as: UTF8.self), radix: 8)
            {
                result.append(value)
                index += 4
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension Mounts {
    /// What is mounted in the calling thread's mount namespace, in the order it was mounted.
    public static func list() throws(Errno) -> [MountInfo] { try list(of: "thread-self") }

    /// What is mounted in the mount namespace of a process.
    public static func list(ofProcess pid: Int32) throws(Errno) -> [MountInfo] { try list(of: "\(pid)") }

    private static func list(of process: String) throws(Errno) -> [MountInfo] {
        parse(try Files.text("/proc/\(process)/mountinfo"))
    }

    static func parse(_ text: String) -> [MountInfo] {
        text.split(separator: "\n").compactMap { MountInfo(line: $0) }
    }

    /// Whether something is mounted at exactly `path`.
    public static func isMountPoint(_ path: String) throws(Errno) -> Bool {
        try list().contains { $0.target == path }
    }
}
