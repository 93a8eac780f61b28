// SPDX-License-Identifier: Apache-2.0

package import ContainerRuntime
import Glibc
import Linux
package import Logging
import Synchronization
import Values

/// Keeps the logs of running containers within five files of 10 MiB.
///
/// A log is looked at after it was written to, and only then: the first write after a look is the event. As a busy
/// log would be looked at with each of its lines, a moment passes before the look: no more than it takes until the log
/// is full at the rate at which it grew last.
package final class LogRotator: Sendable {
    package static let maximumSize = 10 << 20
    package static let maximumFiles = 5
    private static let longestPause = 0.1

    private struct Followed {
        let path: String
        let id: ContainerID
        /// How large it was at the last look, when that was, and how much it had grown a second.
        var size = 0
        var seen = ContinuousClock.now
        var rate = 0.0
        var isBusy = false
        /// It was written to while it was looked at.
        var isDue = false
        var complained = false

        init(path: String, id: ContainerID) {
            self.path = path
            self.id = id
        }

        mutating func note(_ now: Int) {
            let passed = max((ContinuousClock.now - seen) / .seconds(1), 0.000_1)
            rate = Double(max(now - size, 0)) / passed
            size = now
            seen = .now
        }

        /// Seconds until the log is full, if it goes on as it did.
        func pause(limit: Int) -> Double {
            rate > 0 ? min(max(Double(limit - size) / rate, 0), LogRotator.longestPause) : LogRotator.longestPause
        }
    }

    private let runtime: any PodRuntime
    private let log: Logger
    private let size: Int
    private let watcher: Inotify?
    /// By the folder of the log, which is watched: the file itself is another one after each rotation.
    private let followed = Mutex<[String: Followed]>([:])
    private let requests: AsyncStream<String>
    private let request: AsyncStream<String>.Continuation

    package init(runtime: any PodRuntime, log: Logger, size: Int = LogRotator.maximumSize) {
        self.runtime = runtime
        self.log = log
        self.size = size
        do throws(Errno) { watcher = try Inotify() } catch {
            log.warning("logs of containers are not rotated: \(error)")
            watcher = nil
        }
        (requests, request) = AsyncStream.makeStream()
    }

    /// The container runs and writes its log there.
    package func follow(_ id: ContainerID, _ path: String) {
        let folder = Files.directory(of: path)
        followed.withLock { $0[folder] = Followed(path: path, id: id) }
        request.yield(folder)
    }

    package func forget(_ id: ContainerID, _ path: String) {
        let folder = Files.directory(of: path)
        let wasFollowed = followed.withLock { followed in
            guard followed[folder]?.id == id else { return false }
            followed[folder] = nil
            return true
        }
        if wasFollowed { watcher?.remove(folder) }
    }

    /// Works until cancelled.
    package func run() async {
        guard let watcher else { return }
        await withDiscardingTaskGroup { group in
            group.addTask {
                await withDiscardingTaskGroup { looks in
                    for await folder in self.requests { looks.addTask { await self.look(folder) } }
                }
            }
            for await batch in watcher.events {
                let isIncomplete = batch.contains { $0.kinds.contains(.overflow) }
                let written =
                    isIncomplete
                    ? Set(followed.withLock { Array($0.keys) })
                    : Set(batch.filter { $0.kinds.contains(.modified) }.map(\.path))
                for folder in written {
                    // Until the look. (A watch that ends with its first event is no way: made anew at the moment
                    // when the kernel ends it, it is lost.)
                    watcher.remove(folder)
                    guard let pause = followed.withLock({ $0[folder]?.pause(limit: size) }) else { continue }
                    group.addTask {
                        if pause > 0 { try? await Task.sleep(for: .seconds(pause)) }
                        await self.look(folder)
                    }
                }
            }
        }
    }

    /// Rotates the log of a folder if it has grown too large, and waits for the next write.
    private func look(_ folder: String) async {
        let mayBegin = followed.withLock { followed in
            guard let entry = followed[folder] else { return false }
            followed[folder]?.isBusy = true
            followed[folder]?.isDue = entry.isBusy
            return !entry.isBusy
        }
        guard mayBegin else { return }
        while let entry = followed.withLock({ $0[folder] }) {
            let size = Self.size(entry.path)
            followed.withLock { $0[folder]?.note(size) }
            if size > self.size { await rotate(entry, folder) }
            do throws(Errno) { try watcher?.add(folder, [.modified]) } catch {
                // The pod is gone, and its logs with it.
                if error.code != ENOENT { log.warning("the log \(entry.path) is not rotated any more: \(error)") }
            }
            // What was written before the watch began has made no event.
            let isDue = followed.withLock { followed in
                let isDue = followed[folder]?.isDue ?? false
                followed[folder]?.isDue = false
                followed[folder]?.isBusy = false
                return isDue
            }
            guard isDue || Self.size(entry.path) > self.size && !hasFailed(folder) else { return }
            let goesOn = followed.withLock { followed in
                guard followed[folder]?.isBusy == false else { return false }
                followed[folder]?.isBusy = true
                return true
            }
            guard goesOn else { return }
        }
    }

    private func hasFailed(_ folder: String) -> Bool { followed.withLock { $0[folder]?.complained ?? false } }

    private static func size(_ path: String) -> Int {
        var info = stat()
        return stat(path, &info) == 0 ? info.st_size : 0
    }

    private func rotate(_ entry: Followed, _ folder: String) async {
        let path = entry.path
        do {
            let (descriptor, name) = try ContainerLogs.folder(of: path)
            defer { close(descriptor) }
            let old = ContainerLogs.rotated(path)
            for extra in old.prefix(max(0, old.count - (Self.maximumFiles - 2))) {
                let extraName = extra.split(separator: "/").last.map(String.init) ?? extra
                try Files.removeTree(FileName(extraName), in: descriptor, at: extra)
            }
            let time = Timestamp.now.nano.filter { $0 != "-" && $0 != ":" && $0 != "Z" }
            try NodeFiles.check(renameat(descriptor, name, descriptor, "\(name).\(time)"), "rename", path)
            try await runtime.reopenLog(entry.id)
            followed.withLock { followed in
                followed[folder]?.complained = false
                followed[folder]?.size = 0
            }
        } catch {
            // Said once, and tried again with the next write.
            if !entry.complained { log.warning("cannot rotate the log \(path): \(error)") }
            followed.withLock { $0[folder]?.complained = true }
        }
    }
}
