// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization
import Values

/// Releases that could not be made when they were asked for, in a file that outlives the process.
///
/// The file is replaced in one step and synced for each change: an item is in it from the moment that its release was
/// promised until the store has made it good.
public final class ReleaseJournal: Sendable {
    private let path: String
    private let state: Mutex<[ReleaseItem]>

    /// Reads what an earlier process left.
    ///
    /// - Parameter path: the file; its folder is made with the first item.
    /// - Throws: when a file is there and cannot be read. One that is no JSON is what no process of ours left: it is
    ///   reported the same way.
    public init(_ path: String) throws {
        self.path = path
        var items: [ReleaseItem] = []
        do {
            let json = try JSON(parsing: try Files.read(path))
            items = (json["releases"].array ?? []).compactMap { entry in
                let handleID = entry["handleID"].string
                guard let text = entry["address"].string else { return handleID.map { ReleaseItem(handleID: $0) } }
                return IPAddress(text).map {
                    ReleaseItem(address: $0, handleID: handleID, sequence: entry["sequence"].int.map { Int64($0) })
                }
            }
        } catch let error as Errno where error.code == 2 {
            // Nothing is waiting.
        }
        state = Mutex(items)
    }

    /// What waits, the oldest first.
    public var items: [ReleaseItem] { state.withLock { $0 } }

    /// Returns when the items are on disk.
    public func append(_ new: [ReleaseItem]) throws {
        try state.withLock { items in
            let added = items + new.filter { !items.contains($0) }
            guard added.count > items.count else { return }
            try write(added)
            items = added
        }
    }

    public func remove(_ done: [ReleaseItem]) throws {
        let done = Set(done)
        try state.withLock { items in
            let left = items.filter { !done.contains($0) }
            guard left.count < items.count else { return }
            try write(left)
            items = left
        }
    }

    /// Forgets the releases of a handle that is wanted again.
    public func remove(handleID: String) throws {
        try remove(items.filter { $0.handleID == handleID })
    }

    private func write(_ items: [ReleaseItem]) throws {
        let list = items.map { item in
            var entry = JSONObject()
            if let handleID = item.handleID { entry["handleID"] = JSON(handleID) }
            if let address = item.address { entry["address"] = JSON("\(address)") }
            if let sequence = item.sequence { entry["sequence"] = .int(sequence) }
            return JSON.object(entry)
        }
        try Files.makeDirectories(Files.directory(of: path))
        try Files.replace(path, with: JSON.object(["releases": .array(list)]).serialized())
    }
}
