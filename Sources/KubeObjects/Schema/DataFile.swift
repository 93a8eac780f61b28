// SPDX-License-Identifier: Apache-2.0

import CSchemas
import Values

/// A file of `Sources/CSchemas/data`: lines of a name, a tab and JSON or words. Only the names are read at once.
struct DataFile: @unchecked Sendable {
    // Sendable: the bytes are constants of the program and are never written.
    private let bytes: UnsafeRawBufferPointer
    private let lines: [String: Range<Int>]

    init(_ data: catbird_data) {
        bytes = Self.bytes(of: data)
        var lines: [String: Range<Int>] = [:]
        lines.reserveCapacity(768)
        for line in Self.lines(of: bytes) {
            guard let tab = bytes[line].firstIndex(of: 0x09) else { continue }
            lines[Self.text(bytes, line.lowerBound..<tab)] = tab + 1..<line.upperBound
        }
        self.lines = lines
    }

    var names: [String] { lines.keys.sorted() }

    func contains(_ name: String) -> Bool { lines[name] != nil }

    /// Nil when no line has the name.
    func value(_ name: String) -> JSON? {
        lines[name].flatMap { try? JSON(parsing: UnsafeRawBufferPointer(rebasing: bytes[$0])) }
    }

    /// The words of a line that has no JSON; nil when no line has the name.
    func text(_ name: String) -> String? { lines[name].map { Self.text(bytes, $0) } }

    /// The JSON values of a file that has one a line and no names.
    static func values(_ data: catbird_data) -> [JSON] {
        let bytes = bytes(of: data)
        return lines(of: bytes).compactMap { try? JSON(parsing: UnsafeRawBufferPointer(rebasing: bytes[$0])) }
    }

    private static func bytes(of data: catbird_data) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: data.bytes, count: data.length)
    }

    private static func text(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> String {
        String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self)
    }

    private static func lines(of bytes: UnsafeRawBufferPointer) -> [Range<Int>] {
        var lines: [Range<Int>] = []
        var start = 0
        while start < bytes.count, let end = bytes[start...].firstIndex(of: 0x0A) {
            lines.append(start..<end)
            start = end + 1
        }
        return lines
    }
}
