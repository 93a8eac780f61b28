// SPDX-License-Identifier: Apache-2.0

public import Diagnosis
import Glibc
import Linux

/// The room on the disks that a profile writes to.
public struct DiskRoom: Sendable, Hashable {
    /// A folder on the disk.
    public let folder: String
    /// Bytes that may still be written.
    public let free: UInt64
    /// Bytes in all.
    public let total: UInt64

    public init(folder: String, free: UInt64, total: UInt64) {
        self.folder = folder
        self.free = free
        self.total = total
    }

    /// The room of the disk that holds `folder`, or would hold it: the nearest folder that is there is asked.
    ///
    /// - Returns: nil when the kernel does not tell.
    public init?(of folder: String) {
        var place = folder
        while place != "/", !Files.exists(place) { place = Files.directory(of: place) }
        var info = statvfs()
        guard statvfs(place, &info) == 0 else { return nil }
        let unit = UInt64(info.f_frsize)
        self.init(
            folder: place, free: UInt64(info.f_bavail).multipliedReportingOverflow(by: unit).partialValue,
            total: UInt64(info.f_blocks).multipliedReportingOverflow(by: unit).partialValue)
    }

    /// Less than the store needs to go on for a while; SQLite alone grows its log by several hundred kibibytes.
    public var isFull: Bool { free < Self.needed }
    static let needed: UInt64 = 2 << 20

    /// The first full disk of those that a profile writes to.
    static func full(_ paths: ProfilePaths) -> DiskRoom? {
        [paths.state, paths.run].lazy.compactMap { DiskRoom(of: $0) }.first(where: \.isFull)
    }

    private var amounts: String { "\(free >> 10) KiB of \(total >> 10) KiB are free" }
    private var nextStep: String { "df -h \(folder); make room there, catbird image rm IMAGE among other things" }

    func error(after other: any Error) -> LocalClusterError {
        LocalClusterError(
            .insufficientStorage, "The disk of \(folder) is full (\(amounts)): \(other)",
            nextStep: "\(nextStep), then start again.")
    }

    /// What `doctor` says of a full disk.
    public var finding: Finding? {
        guard isFull else { return nearlyFull }
        return Finding(
            "DiskFull", object: "disk of \(folder)", problem: "is full: the API refuses every write",
            cause: "\(amounts), and less than \(Self.needed >> 10) KiB is too little", nextStep: nextStep)
    }

    /// Before the API refuses anything: pods that write, and images, fill what is left.
    private var nearlyFull: Finding? {
        guard free < Self.scarce, free < total / 10 else { return nil }
        return Finding(
            "DiskNearlyFull", object: "disk of \(folder)", problem: "is nearly full", cause: amounts,
            nextStep: nextStep)
    }

    static let scarce: UInt64 = 256 << 20
}
