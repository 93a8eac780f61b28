// SPDX-License-Identifier: Apache-2.0

import Glibc

/// How many files and sockets a process may have open.
public enum OpenFiles {
    /// Takes all that the process is allowed to take, as servers do whose clients each hold a connection.
    ///
    /// The limit is 1024 on many machines, for the sake of programs that use `select`.
    public static func raiseLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max
        else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
