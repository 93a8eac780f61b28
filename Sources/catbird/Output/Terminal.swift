// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LocalCluster
import Linux

/// Lines for people: with minikube's marks where the terminal can show them.
enum Terminal {
    /// Whether the locale has more than ASCII; a variable that is empty counts as one that is not set.
    static let showsMarks: Bool = {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { HostEnvironment.value($0) }.first ?? ""
        return locale.uppercased().contains("UTF-8") || locale.uppercased().contains("UTF8")
    }()

    static func line(_ mark: String, _ text: String) { write(1, marked(mark, text)) }

    /// A line beside what scripts read from standard output.
    static func note(_ mark: String, _ text: String) { write(2, marked(mark, text)) }

    private static func marked(_ mark: String, _ text: String) -> String {
        showsMarks ? "\(mark)  \(text)\n" : "* \(text)\n"
    }

    static func error(_ text: String) { write(2, text + "\n") }

    static func fail(_ message: String, next: String?) {
        write(2, showsMarks ? "❌  Exiting: \(message)\n" : "X Exiting: \(message)\n")
        if let next { write(2, showsMarks ? "💡  \(next)\n" : "  \(next)\n") }
    }

    /// Written at once: the other end may be a pipe that is read while the command goes on.
    static func write(_ fd: Int32, _ text: String) {
        try? FileDescriptor.write(fd, Array(text.utf8))
    }
}
