// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Kernel settings below /proc/sys, of the calling thread's namespaces.
public enum Sysctl {
    /// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` are the same. In the dotted form a slash stands for a dot that
    /// belongs to a name, as of an interface `eth0.1`: `net.ipv4.conf.eth0/1.forwarding`.
    static func path(_ name: String) -> String {
        guard let first = name.first(where: { $0 == "." || $0 == "/" }), first == "." else {
            return "/proc/sys/\(name)"
        }
        return "/proc/sys/" + String(name.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 })
    }

    public static func read(_ name: String) throws(Errno) -> String {
        var text = try Files.text(path(name))
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }

    public static func write(_ name: String, _ value: String) throws(Errno) {
        try Files.write(path(name), value)
    }

    public static func exists(_ name: String) -> Bool { Files.exists(path(name)) }
}
