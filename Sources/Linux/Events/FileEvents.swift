// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// One thread that waits for all descriptors whose events come seldom: pidfds, inotify, netlink, SIGCHLD.
///
/// Handlers run on that thread, one after another; they must be short and must not block.
package final class FileEvents: Sendable {
    package typealias Handler = @Sendable (_ events: UInt32) -> Void

    /// Nil only when the kernel has neither descriptor nor thread left for it.
    private static let instance: Result<FileEvents, Errno> = {
        do throws(Errno) { return .success(try FileEvents()) } catch { return .failure(error) }
    }()

    package static func shared() throws(Errno) -> FileEvents { try instance.get() }

    private struct State {
        var handlers: [UInt64: Handler] = [:]
        var tokens: [Int32: UInt64] = [:]
        var next: UInt64 = 2
        var calls: [@Sendable () -> Void] = []
    }

    private let epoll: Int32
    private let wake: Int32
    private let state = Mutex(State())
    private static let wakeToken: UInt64 = 1

    private init() throws(Errno) {
        epoll = try check("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) }
        wake = try check("eventfd") { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) }
        var event = epoll_event(events: UInt32(EPOLLIN.rawValue), data: epoll_data_t(u64: Self.wakeToken))
        try check("epoll_ctl") { epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) }
        try OwnThread.detach(name: "file-events") { self.loop() }
    }

    /// Calls `handler` whenever `fd` is readable, until ``remove(_:)``.
    package func add(_ fd: Int32, _ handler: @escaping Handler) throws(Errno) {
        let token = state.withLock { state in
            let token = state.next
            state.next += 1
            state.handlers[token] = handler
            state.tokens[fd] = token
            return token
        }
        var event = epoll_event(events: UInt32(EPOLLIN.rawValue), data: epoll_data_t(u64: token))
        do throws(Errno) { try check("epoll_ctl") { epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) } } catch {
            remove(fd)
            throw error
        }
    }

    /// After this returns no call of the handler starts; one may still be running, unless it is the handler that asks.
    package func remove(_ fd: Int32) {
        state.withLock { state in
            if let token = state.tokens.removeValue(forKey: fd) { state.handlers[token] = nil }
        }
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nil)
    }

    /// Ends the watch of a descriptor and closes it, where handlers run: none is reading it then.
    package static func retire(_ fd: Int32) {
        guard let shared = try? shared() else { return }
        shared.remove(fd)
        shared.perform { close(fd) }
    }

    /// Runs `body` on the thread.
    package func perform(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.calls.append(body) }
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    private func loop() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), -1)
            if count < 0 { continue }
            for event in events.prefix(Int(count)) {
                if event.data.u64 == Self.wakeToken {
                    var value: UInt64 = 0
                    _ = read(wake, &value, 8)
                    let calls = state.withLock { state in
                        defer { state.calls = [] }
                        return state.calls
                    }
                    for call in calls { call() }
                } else if let handler = state.withLock({ $0.handlers[event.data.u64] }) {
                    handler(event.events)
                }
            }
        }
    }
}
