// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// Processors that a thread may run on (sched_setaffinity(2)); threads and processes that it makes inherit them.
struct ThreadProcessors {
    private let set: catbird_processors

    private init(_ set: catbird_processors) { self.set = set }

    /// The calling thread's. Nil where the kernel has more processors than the C library's set has room for.
    static func current() -> ThreadProcessors? { of(0) }

    /// Those of the process' first thread.
    static func ofProcess() -> ThreadProcessors? { of(getpid()) }

    private static func of(_ thread: pid_t) -> ThreadProcessors? {
        var set = catbird_processors()
        return catbird_getaffinity(thread, &set) == 0 ? ThreadProcessors(set) : nil
    }

    /// One set for each processor of this one.
    var single: [ThreadProcessors] {
        withUnsafeBytes(of: set) { bytes in
            (0..<bytes.count * 8).compactMap { number in
                let (byte, bit) = (number / 8, UInt8(1) << (number % 8))
                guard bytes[byte] & bit != 0 else { return nil }
                var one = catbird_processors()
                withUnsafeMutableBytes(of: &one) { $0[byte] = bit }
                return ThreadProcessors(one)
            }
        }
    }

    /// Moves the calling thread there.
    func apply() throws(Errno) {
        var set = set
        if catbird_setaffinity(&set) != 0 { throw Errno("sched_setaffinity") }
    }
}
