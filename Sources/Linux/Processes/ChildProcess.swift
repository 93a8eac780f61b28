// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// How a process ended.
public enum ExitStatus: Sendable, Hashable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)
    /// It ended, but somebody else was told how: it was not this process's child.
    case unknown

    /// As a shell says it: 128 and the number for a signal; 255 when unknown.
    public var code: Int32 {
        switch self {
        case .exited(let code): code
        case .signalled(let number): 128 + number
        case .unknown: 255
        }
    }

    public var isSuccess: Bool { self == .exited(0) }

    public var description: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .signalled(let number): "killed by signal \(number)"
        case .unknown: "ended, status unknown"
        }
    }
}

/// A process that is watched through a pidfd: the number cannot come to mean another process.
public final class ChildProcess: Sendable {
    public let pid: Int32
    private let pidfd: Int32

    private enum State {
        case running([Int: CheckedContinuation<ExitStatus, Never>], next: Int)
        case ended(ExitStatus)
    }

    private let state = Mutex(State.running([:], next: 0))

    init(pid: Int32, owning pidfd: Int32) {
        self.pid = pid
        self.pidfd = pidfd
    }

    deinit { close(pidfd) }

    /// Watches a process that runs already: an orphan that this subreaper was given, or any other. Throws `ESRCH` when
    /// there is none. How it ended is known only of a child. One that is watched already is the same object.
    public static func adopt(_ pid: Int32) throws(Errno) -> ChildProcess {
        try ProcessTable.shared.watching(pid) { () throws(Errno) -> ChildProcess in
            ChildProcess(pid: pid, owning: try check("pidfd_open", "process \(pid)") { catbird_pidfd_open(pid) })
        }
    }

    /// Nil while it runs.
    public var exitStatus: ExitStatus? {
        state.withLock { if case .ended(let status) = $0 { status } else { nil } }
    }

    /// Suspends until it has ended. Any number of callers may wait; cancelling one changes nothing for it: a process
    /// that was started has to be waited for.
    public func wait() async -> ExitStatus {
        await withCheckedContinuation { continuation in
            let status = state.withLock { state -> ExitStatus? in
                switch state {
                case .ended(let status): return status
                case .running(var waiting, let next):
                    waiting[next] = continuation
                    state = .running(waiting, next: next + 1)
                    return nil
                }
            }
            if let status { continuation.resume(returning: status) }
        }
    }

    /// Sends a signal; a process that has ended is no error.
    public func signal(_ number: Int32) throws(Errno) {
        if catbird_pidfd_send_signal(pidfd, number) == 0 || errno == ESRCH { return }
        throw Errno("pidfd_send_signal", "\(number) to process \(pid)")
    }

    /// Whether the process is there, if only to be waited for.
    var isThere: Bool { catbird_pidfd_send_signal(pidfd, 0) == 0 || errno != ESRCH }

    /// The event thread keeps the process alive as an object until it has ended.
    fileprivate func watch() throws(Errno) {
        try FileEvents.shared().add(pidfd) { _ in self.readable() }
    }

    private func readable() {
        var ended: Int32 = 0
        var code: Int32 = 0
        var signal: Int32 = 0
        let result = catbird_wait(pidfd, 0, 0, 0, &ended, &code, &signal)
        // -1: it was not our child, or was waited for elsewhere. 0 cannot be: a pidfd is readable after the end only,
        // but of somebody else's thread group leader it may be so early.
        if result == 0 { return }
        (try? FileEvents.shared())?.remove(pidfd)
        ProcessTable.shared.remove(self)
        finish(result < 0 ? .unknown : signal != 0 ? .signalled(signal) : .exited(code))
        Subreaper.reap()
    }

    private func finish(_ status: ExitStatus) {
        let waiting = state.withLock { state -> [CheckedContinuation<ExitStatus, Never>] in
            guard case .running(let waiting, _) = state else { return [] }
            state = .ended(status)
            return Array(waiting.values)
        }
        for continuation in waiting { continuation.resume(returning: status) }
    }
}

/// The processes that are watched: children that are not here are orphans.
final class ProcessTable: Sendable {
    static let shared = ProcessTable()
    private let processes = Mutex<[Int32: ChildProcess]>([:])

    func remove(_ process: ChildProcess) {
        processes.withLock { processes in
            if processes[process.pid] === process { processes[process.pid] = nil }
        }
    }

    /// The watched process of the number, or the one that `make` finds or starts; it is watched from now on. As all
    /// happens in one step, no child is taken for an orphan between its birth and its entry.
    func watching(_ pid: Int32? = nil, _ make: () throws(Errno) -> ChildProcess) throws(Errno) -> ChildProcess {
        let result = processes.withLock { processes -> Result<ChildProcess, Errno> in
            // Of a process that is not our child the number may have passed to another before we were told of its end.
            if let pid, let known = processes[pid], known.isThere { return .success(known) }
            do throws(Errno) {
                let process = try make()
                processes[process.pid] = process
                do throws(Errno) { try process.watch() } catch {
                    processes[process.pid] = nil
                    throw error
                }
                return .success(process)
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    func withOrphans(_ body: (_ isOwned: (Int32) -> Bool) -> Void) {
        processes.withLock { processes in body { processes[$0] != nil } }
    }
}

/// Makes this process the parent of its descendants' orphans, and lets go those that nobody waits for.
public enum Subreaper {
    private static let enabled = Mutex(false)

    /// From now on orphaned descendants become children of this process. Ended ones that were neither spawned by
    /// ``ProcessSpawner`` nor adopted by ``ChildProcess/adopt(_:)`` are reaped at once.
    public static func enable() throws(Errno) {
        try check("prctl(PR_SET_CHILD_SUBREAPER)") { catbird_set_child_subreaper(1) }
        let isFirst = enabled.withLock { value in
            defer { value = true }
            return !value
        }
        guard isFirst else { return }
        let event = try check("eventfd") { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) }
        try FileEvents.shared().add(event) { _ in
            var count: UInt64 = 0
            _ = read(event, &count, 8)
            reap()
        }
        try check("sigaction(SIGCHLD)") { catbird_notify_child_exit(event) }
        try FileEvents.shared().perform { reap() }
    }

    /// Reaps orphans up to the first ended child that has an owner; the owner's event calls this again.
    static func reap() {
        guard enabled.withLock({ $0 }) else { return }
        ProcessTable.shared.withOrphans { isOwned in
            var pid: Int32 = 0
            var code: Int32 = 0
            var signal: Int32 = 0
            while catbird_wait(-1, 0, 0, 1, &pid, &code, &signal) == 1, !isOwned(pid) {
                if catbird_wait(-1, pid, 0, 0, &pid, &code, &signal) != 1 { return }
            }
        }
    }
}
