// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// The memory that the C library keeps for a process.
public enum Heap {
    /// Threads share so many heaps: each heap keeps what its threads once needed, and a process of few kinds of work
    /// gains nothing by many of them. To be called before threads begin.
    public static func shareArenas(_ count: Int32 = 2) { _ = mallopt(M_ARENA_MAX, count) }

    /// Gives back to the kernel what is free.
    public static func trim() { _ = malloc_trim(0) }

    /// Gives back what is free, now and then, until cancelled. By the clock, because that memory is free, and stays so,
    /// is no event.
    public static func trimRegularly(every interval: Duration = .seconds(30)) async {
        while (try? await Task.sleep(for: interval)) != nil { trim() }
    }
}
