// SPDX-License-Identifier: Apache-2.0
import CLinux

/// Sockets that servers listen on.
public enum ServerSocket {
    /// A TCP socket on a port of all addresses of the calling thread's network namespace, in both families where the
    /// kernel has both. The caller owns it.
    public static func everywhere(port: UInt16) throws(Errno) -> Int32 {
        try check("bind", "port \(port)") { catbird_bind_everywhere(port) }
    }
}
