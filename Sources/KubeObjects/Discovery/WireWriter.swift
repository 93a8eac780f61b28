// SPDX-License-Identifier: Apache-2.0

import Values

/// Appends protobuf fields to a buffer. Members that are nil, empty or zero are left out, as the format does.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func varint(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    private mutating func key(_ number: Int, _ type: UInt64) { varint(UInt64(number) << 3 | type) }

    mutating func text(_ number: Int, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        data(number, Array(text.utf8))
    }

    mutating func data(_ number: Int, _ data: [UInt8]) {
        key(number, 2)
        varint(UInt64(data.count))
        bytes += data
    }

    mutating func flag(_ number: Int, _ flag: Bool?) {
        guard flag == true else { return }
        key(number, 0)
        varint(1)
    }

    mutating func integer(_ number: Int, _ value: Int?) {
        guard let value, value != 0 else { return }
        key(number, 0)
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func number(_ number: Int, _ value: Double?) {
        guard let value, value != 0 else { return }
        key(number, 1)
        bytes.appendLittleEndian(value.bitPattern)
    }

    mutating func message(_ number: Int, _ body: (inout WireWriter) -> Void) {
        var inner = WireWriter()
        body(&inner)
        data(number, inner.bytes)
    }
}
