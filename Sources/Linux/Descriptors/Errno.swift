// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// A system call that failed: which, on what, and why.
public struct Errno: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kernel's number: `ENOENT` and so on.
    public let code: Int32
    /// The call, as its manual page is named.
    public let call: String
    /// What it was called on, or the kernel's own explanation.
    public let detail: String

    public init(code: Int32, call: String, detail: String = "") {
        self.code = code
        self.call = call
        self.detail = detail
    }

    /// Takes the calling thread's `errno`.
    public init(_ call: String, _ detail: String = "") {
        self.init(code: errno, call: call, detail: detail)
    }

    public var description: String {
        let reason = Errno.text(code)
        return detail.isEmpty ? "\(call): \(reason)" : "\(call) \(detail): \(reason)"
    }

    /// The C library's words for an error number.
    public static func text(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        catbird_error_text(code, &buffer, buffer.count)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    public var isNotFound: Bool { code == ENOENT || code == ENODEV || code == ESRCH || code == ENXIO }
    public var alreadyExists: Bool { code == EEXIST }
}

/// Turns -1 into an ``Errno``; repeats a call that a signal interrupted.
@discardableResult
package func check(
    _ call: String, _ detail: @autoclosure () -> String = "", _ body: () -> Int32
) throws(Errno) -> Int32 {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw Errno(code: code, call: call, detail: detail()) }
    }
}
