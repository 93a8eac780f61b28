// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What a message says of a process, that somebody may have to look for.
public struct ProcessSummary: Sendable, Hashable, CustomStringConvertible {
    public let pid: Int32
    /// Its command line, or its name.
    public let command: String
    /// The letter of /proc/PID/stat: `R`, `S`, `D`, `T`, `Z` …
    public let state: Character
    /// The kernel's function it waits in, where the kernel tells.
    public let waitsIn: String?
    /// The groups of the freezer that it is frozen by, as paths in this mount namespace.
    public let frozenBy: [String]

    /// Nil when there is no such process.
    public init?(pid: Int32) {
        guard let stat = try? Files.text("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")") else { return nil }
        // The name, in parentheses, may itself hold parentheses and spaces.
        guard let state = stat[stat.index(after: end)...].first(where: { $0 != " " }) else { return nil }
        self.pid = pid
        self.state = state
        let words = ((try? Files.read("/proc/\(pid)/cmdline")) ?? []).split(separator: 0)
        let line = words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        let name = stat.firstIndex(of: "(").map { String(stat[stat.index(after: $0)..<end]) } ?? ""
        command = line.isEmpty ? name : String(line.prefix(120))
        let wait = (try? Files.text("/proc/\(pid)/wchan")).map { $0.filter { !$0.isNewline } }
        waitsIn = wait.flatMap { $0.isEmpty || $0 == "0" ? nil : $0 }
        frozenBy = (try? CgroupLayout.detect().frozenGroups(of: pid)) ?? []
    }

    /// `process 4711 (catbird node --name lab)`, and why it may not react.
    public var description: String {
        let reason: String? =
            if let group = frozenBy.first {
                "frozen by \(group)"
            } else {
                switch state {
                case "D": "in an uninterruptible wait\(waitsIn.map { " (\($0))" } ?? ""): a disk or network file system"
                case "T", "t": "stopped (SIGSTOP, or a debugger)"
                case "Z": "dead, and its parent has not asked how it ended"
                default: nil
                }
            }
        return "process \(pid) (\(command))\(reason.map { ", \($0)" } ?? "")"
    }
}

/// A process that did not end in spite of SIGKILL.
public struct ProcessWillNotEnd: Error, Sendable, Hashable, CustomStringConvertible {
    public let process: ProcessSummary
    public var description: String { "\(process) does not end, in spite of SIGKILL" }
}

extension ChildProcess {
    /// How long a process may take to end after SIGKILL. It is the kernel that ends it then, and only what the process
    /// waits for in it, or a freezer, keeps it.
    public static let killLimit: Duration = .seconds(5)

    /// Waits until it has ended, but no longer than `limit`: nil then.
    public func wait(upTo limit: Duration) async -> ExitStatus? {
        let (stream, continuation) = AsyncStream.makeStream(of: ExitStatus?.self)
        // Waiting for a process cannot be cancelled; this ends with the process, or with the program.
        Task { continuation.yield(await wait()) }
        let timer = Task {
            if (try? await Task.sleep(for: limit)) != nil { continuation.yield(nil) }
        }
        defer { timer.cancel() }
        for await status in stream { return status }
        return nil
    }

    /// Ends it: with SIGTERM; with SIGKILL when that did nothing within `grace`, or at once without one; and when it is
    /// frozen by thawing it.
    ///
    /// - Throws: ``ProcessWillNotEnd`` when it is there still.
    @discardableResult
    public func end(grace: Duration? = nil, killLimit: Duration = ChildProcess.killLimit) async throws -> ExitStatus {
        try await ending(grace, killLimit).get()
    }

    /// A result and not an error: the optimizer of Swift 6.3.1 crashes on this function where it throws.
    private func ending(_ grace: Duration?, _ killLimit: Duration) async -> Result<ExitStatus, any Error> {
        if let grace {
            if let failure = send(SIGTERM) { return .failure(failure) }
            if let status = await wait(upTo: grace) { return .success(status) }
        }
        if let failure = send(SIGKILL) { return .failure(failure) }
        if let status = await wait(upTo: min(killLimit, .milliseconds(500))) { return .success(status) }
        // Of v1 a frozen process does not even take SIGKILL.
        if let layout = try? CgroupLayout.detect() { layout.thaw(process: pid) }
        if let status = await wait(upTo: killLimit) { return .success(status) }
        guard let summary = ProcessSummary(pid: pid), summary.state != "Z" else { return .success(.unknown) }
        return .failure(ProcessWillNotEnd(process: summary))
    }

    private func send(_ number: Int32) -> (any Error)? {
        do { try signal(number) } catch { return error }
        return nil
    }
}

extension ChildProcess {
    /// Kills all of them, and tells which are there still.
    public static func endAll(_ processes: [ChildProcess]) async -> [ProcessWillNotEnd] {
        await withTaskGroup(of: ProcessWillNotEnd?.self) { group in
            for process in processes {
                group.addTask {
                    do { try await process.end() } catch { return error as? ProcessWillNotEnd }
                    return nil
                }
            }
            var stuck: [ProcessWillNotEnd] = []
            for await failure in group { if let failure { stuck.append(failure) } }
            return stuck.sorted { $0.process.pid < $1.process.pid }
        }
    }
}

extension CgroupLayout {
    /// The folders of groups, the process's own or above it, that are themselves frozen: the deepest first.
    func frozenGroups(of pid: Int32) -> [String] {
        guard let lines = try? Files.text("/proc/\(pid)/cgroup").split(separator: "\n") else { return [] }
        var result: [String] = []
        for line in lines {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isUnified = fields[1].isEmpty
            let own = hierarchies.first {
                isUnified ? $0.isUnified : $0.controllers == fields[1].split(separator: ",").map(String.init)
            }
            guard let own, isUnified || own.controllers.contains("freezer") else { continue }
            var group = String(fields[2])
            while group.count > 1 {
                let folder = own.path(of: group)
                let file = isUnified ? "cgroup.freeze" : "freezer.self_freezing"
                if (try? Files.text("\(folder)/\(file)"))?.hasPrefix("1") == true { result.append(folder) }
                group = Files.directory(of: group)
            }
        }
        return result
    }

    /// Thaws what a process is frozen by.
    func thaw(process pid: Int32) {
        for folder in frozenGroups(of: pid) {
            if Files.exists("\(folder)/freezer.state") {
                try? Files.write("\(folder)/freezer.state", "THAWED")
            } else {
                try? Files.write("\(folder)/cgroup.freeze", "0")
            }
        }
    }
}
