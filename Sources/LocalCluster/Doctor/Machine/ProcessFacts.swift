// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Glibc
import Linux
public import Values

/// One of the cluster's own processes, as the machine shows it.
public struct ProcessFacts: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        case running
        /// By SIGSTOP, or by a debugger.
        case suspended
        /// By its control group's freezer: the file, and what thaws it.
        case frozen(file: String, thaw: String)
        case dead
    }

    public let name: String
    public let pid: Int32?
    public let state: State
    public let startedAt: Timestamp?
    /// How often the supervisor has started it again.
    public let restarts: Int
    /// The last line of its log.
    public let lastLine: String

    public init(
        name: String, pid: Int32?, state: State, startedAt: Timestamp? = nil, restarts: Int = 0, lastLine: String = ""
    ) {
        self.name = name
        self.pid = pid
        self.state = state
        self.startedAt = startedAt
        self.restarts = restarts
        self.lastLine = lastLine
    }

    /// Looks at the process that a profile's folder names.
    init(_ name: String, paths: ProfilePaths, restarts: Int) {
        let line = DoctorText.oneLine(LastWords.of(paths.log(name)))
        guard let record = ProcessRecord.running(at: paths.pidFile(name)) else {
            self.init(name: name, pid: nil, state: .dead, restarts: restarts, lastLine: line)
            return
        }
        self.init(
            name: name, pid: record.pid, state: Self.state(of: record.pid), startedAt: Self.time(record.startTime),
            restarts: restarts, lastLine: line)
    }

    private static func state(of pid: Int32) -> State {
        guard let summary = ProcessSummary(pid: pid) else { return .dead }
        if let group = summary.frozenBy.first {
            let isOld = Files.exists("\(group)/freezer.state")
            return .frozen(
                file: isOld ? "\(group)/freezer.state" : "\(group)/cgroup.freeze", thaw: isOld ? "THAWED" : "0")
        }
        return summary.state == "T" || summary.state == "t" ? .suspended : .running
    }

    /// Clock ticks after boot as a time of day.
    private static func time(_ ticks: String) -> Timestamp? {
        let perSecond = Int64(sysconf(Int32(_SC_CLK_TCK)))
        guard let ticks = Int64(ticks), perSecond > 0, let stat = try? Files.text("/proc/stat"),
            let line = stat.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
            let boot = Int64(line.dropFirst(6))
        else { return nil }
        return Timestamp(seconds: boot + ticks / perSecond)
    }
}
