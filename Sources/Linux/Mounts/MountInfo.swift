// SPDX-License-Identifier: Apache-2.0
import Glibc

/// One line of /proc/self/mountinfo.
public struct MountInfo: Sendable, Hashable {
    public let id: Int
    public let parentID: Int
    /// The file system's number: `8:1`.
    public let device: String
    /// The folder of the file system that is mounted.
    public let root: String
    /// As text; what is not UTF-8 in it is shown as U+FFFD.
    public let target: String
    /// As it is.
    let targetBytes: [UInt8]
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
        path == "/" ? targetBytes != [Self.slash] : targetBytes.starts(with: Array(path.utf8) + [Self.slash])
    }

    private static let slash = UInt8(ascii: "/")

    /// Nil for a line that is not of the kernel's form.
    public init?(line: some StringProtocol) { self.init(line: Array(line.utf8)[...]) }

    init?(line: ArraySlice<UInt8>) {
        let fields = line.split(separator: UInt8(ascii: " "))
        func text(_ field: ArraySlice<UInt8>) -> String { String(decoding: field, as: UTF8.self) }
        func list(_ field: ArraySlice<UInt8>) -> [String] { field.split(separator: UInt8(ascii: ",")).map(text) }
        guard let dash = fields.indices.dropFirst(6).first(where: { fields[$0] == [UInt8(ascii: "-")] }),
            fields.count >= dash + 3, let id = Int(text(fields[0])), let parentID = Int(text(fields[1]))
        else { return nil }
        self.id = id
        self.parentID = parentID
        device = text(fields[2])
        root = text(Self.unescaped(fields[3]))
        targetBytes = Array(Self.unescaped(fields[4]))
        target = text(targetBytes[...])
        options = list(fields[5])
        propagation = fields[6..<dash].map(text)
        type = text(fields[dash + 1])
        source = text(Self.unescaped(fields[dash + 2]))
        superOptions = dash + 3 < fields.count ? list(fields[dash + 3]) : []
    }

    /// The kernel writes space, tab, newline and backslash as three octal digits.
    static func unescaped(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard bytes.contains(UInt8(ascii: "\\")) else { return bytes }
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "\\"), bytes.endIndex - index > 3,
                let value = UInt8(String(decoding: bytes[(index + 1)...(index + 3)], as: UTF8.self), radix: 8)
            {
                result.append(value)
                index += 4
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result[...]
    }
}

extension Mounts {
    /// What is mounted in the calling thread's mount namespace, in the order it was mounted.
    public static func list() throws(Errno) -> [MountInfo] { try list(of: "thread-self") }

    /// What is mounted in the mount namespace of a process.
    public static func list(ofProcess pid: Int32) throws(Errno) -> [MountInfo] { try list(of: "\(pid)") }

    private static func list(of process: String) throws(Errno) -> [MountInfo] {
        parse(try Files.read("/proc/\(process)/mountinfo"))
    }

    static func parse(_ bytes: [UInt8]) -> [MountInfo] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { MountInfo(line: $0) }
    }

    /// Whether something is mounted at exactly `path`.
    public static func isMountPoint(_ path: String) throws(Errno) -> Bool {
        try list().contains { $0.target == path }
    }
}
