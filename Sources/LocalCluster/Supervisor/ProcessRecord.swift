// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// A process that outlives the one that started it, remembered in a file: a supervisor that comes back after SIGKILL
/// finds its processes so, and never takes a stranger with the same number for one of them.
struct ProcessRecord: Sendable, Hashable {
    let pid: pid_t
    /// In clock ticks after boot, from /proc/PID/stat: it tells two processes with one number apart.
    let startTime: String

    init?(pid: pid_t) {
        guard let startTime = Self.startTime(of: pid) else { return nil }
        self.pid = pid
        self.startTime = startTime
    }

    /// The record at `path`, if its process still runs.
    static func running(at path: String) -> ProcessRecord? {
        guard let text = try? Files.read(path) else { return nil }
        let parts = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard parts.count == 2, let pid = pid_t(parts[0]), let record = ProcessRecord(pid: pid),
            record.startTime == parts[1]
        else { return nil }
        return record
    }

    func write(to path: String) throws {
        try Files.replace(path, with: Array("\(pid) \(startTime)\n".utf8), mode: 0o600)
    }

    /// Field 22; the name in field 2 may hold spaces and parentheses. Nil also for a process that is dead but not
    /// waited for.
    private static func startTime(of pid: pid_t) -> String? {
        guard let bytes = try? Files.read("/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return String(fields[19])
    }
}
