// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Names of signals.
enum Signals {
    private static let names: [String: Int32] = [
        "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
        "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
        "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
        "IO": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
    ]

    /// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`; nil for anything else.
    static func number(_ text: String?) -> Int32? {
        guard let text, !text.isEmpty else { return nil }
        if let number = Int32(text) { return (1...64).contains(number) ? number : nil }
        let upper = text.uppercased()
        let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        if let number = names[name] { return number }
        if name.hasPrefix("RTMIN+"), let more = Int32(name.dropFirst(6)), (0...30).contains(more) { return 34 + more }
        if name.hasPrefix("RTMAX-"), let less = Int32(name.dropFirst(6)), (0...30).contains(less) { return 64 - less }
        return nil
    }
}
