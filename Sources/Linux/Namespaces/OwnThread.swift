// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// Runs code on a thread that nobody else has used or will use: for what changes a thread for good.
public enum OwnThread {
    /// Carries the closure to the thread and its result back. Only one side has it at a time: pthread_create and
    /// the end of the thread (join, or the completion) order the accesses.
    private final class Box<T>: @unchecked Sendable {
        let body: @Sendable () throws -> T
        let completion: (@Sendable (Result<T, any Error>) -> Void)?
        var result: Result<T, any Error>?

        init(body: @escaping @Sendable () throws -> T, completion: (@Sendable (Result<T, any Error>) -> Void)? = nil) {
            self.body = body
            self.completion = completion
        }

        func run() {
            let result = Result { try body() }
            if let completion { completion(result) } else { self.result = result }
        }
    }

    private final class Start: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func start(_ run: @escaping @Sendable () -> Void, detached: Bool) throws(Errno) -> pthread_t {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        if detached { pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED)) }
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(run))
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw Errno(code: code, call: "pthread_create")
        }
        return thread
    }

    /// Blocks the caller until `body` is done.
    public static func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) throws -> T {
        let box = Box(body: body)
        let thread = try start({ box.run() }, detached: false)
        pthread_join(thread, nil)
        guard let result = box.result else { throw Errno(code: ECANCELED, call: "pthread_join") }
        return try result.get()
    }

    /// Suspends the caller until `body` is done; no thread of the pool waits.
    public static func run<T: Sendable>(awaiting body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let box = Box(body: body) { continuation.resume(with: $0) }
            do { _ = try start({ box.run() }, detached: true) } catch { continuation.resume(throwing: error) }
        }
    }

    /// Starts a thread that lives on by itself, with every signal blocked.
    static func detach(name: String, _ body: @escaping @Sendable () -> Void) throws(Errno) {
        _ = try start(
            {
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_SETMASK, &all, nil)
                catbird_set_process_name(name)
                body()
            }, detached: true)
    }
}
