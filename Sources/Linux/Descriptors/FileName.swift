// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A file's name as the kernel has it: any bytes but zero and slash, which need not be UTF-8.
///
/// A `String` cannot hold every name; what a container names its files is looked at and removed by this.
public struct FileName: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// With the zero at its end, as the kernel takes it.
    package let cString: [CChar]

    public init(_ bytes: some Sequence<UInt8>) {
        cString = bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
    }

    public init(_ text: String) { self.init(text.utf8) }

    public var bytes: [UInt8] { cString.dropLast().map { UInt8(bitPattern: $0) } }

    /// The name where it is UTF-8, nil otherwise.
    public var text: String? { String(validating: bytes, as: UTF8.self) }

    public static func < (left: FileName, right: FileName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    /// For messages: what is not text stands as octal digits, as `ls -b` shows it.
    public var description: String {
        if let text, !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) { return text }
        return bytes.reduce(into: "") { result, byte in
            if (0x20..<0x7F).contains(byte) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 8)
                result += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
            }
        }
    }
}
