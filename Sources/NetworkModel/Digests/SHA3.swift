// SPDX-License-Identifier: Apache-2.0

/// SHA3-256 (FIPS 202): Calico labels affinities with the digest of their node's name.
public enum SHA3 {
    private static let rate = 136

    public static func digest256(_ message: some Sequence<UInt8>) -> [UInt8] {
        var bytes = Array(message)
        bytes.append(0x06)
        while bytes.count % rate != 0 { bytes.append(0) }
        bytes[bytes.count - 1] |= 0x80
        var lanes = [UInt64](repeating: 0, count: 25)
        for start in stride(from: 0, to: bytes.count, by: rate) {
            for offset in 0..<rate {
                lanes[offset / 8] ^= UInt64(bytes[start + offset]) << UInt64(offset % 8 * 8)
            }
            permute(&lanes)
        }
        return (0..<32).map { UInt8(truncatingIfNeeded: lanes[$0 / 8] >> UInt64($0 % 8 * 8)) }
    }

    /// Keccak-f[1600].
    private static func permute(_ lanes: inout [UInt64]) {
        var generator: UInt8 = 1
        for _ in 0..<24 {
            // Theta: each lane takes the parity of two neighbouring columns.
            let parity = (0..<5).map { x in (0..<5).reduce(UInt64(0)) { $0 ^ lanes[x + 5 * $1] } }
            for x in 0..<5 {
                let mix = parity[(x + 4) % 5] ^ rotateLeft(parity[(x + 1) % 5], 1)
                for y in 0..<5 { lanes[x + 5 * y] ^= mix }
            }
            // Rho and pi: lanes turn by triangular numbers while they change places.
            var (x, y) = (1, 0)
            var moving = lanes[1]
            for step in 0..<24 {
                (x, y) = (y, (2 * x + 3 * y) % 5)
                let turned = rotateLeft(moving, UInt64((step + 1) * (step + 2) / 2 % 64))
                moving = lanes[x + 5 * y]
                lanes[x + 5 * y] = turned
            }
            // Chi: the only step that is not linear.
            for y in 0..<5 {
                let row = (0..<5).map { lanes[$0 + 5 * y] }
                for x in 0..<5 { lanes[x + 5 * y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]) }
            }
            // Iota: a constant from a shift register, different each round.
            for bit in 0..<7 {
                if generator & 1 != 0 { lanes[0] ^= UInt64(1) << UInt64((1 << bit) - 1) }
                generator = generator & 0x80 != 0 ? generator << 1 ^ 0x71 : generator << 1
            }
        }
    }

    private static func rotateLeft(_ value: UInt64, _ count: UInt64) -> UInt64 {
        count == 0 ? value : value << count | value >> (64 - count)
    }
}

/// Base 32 text (RFC 4648 section 6) without padding.
public enum Base32 {
    public static func text(_ bytes: some Sequence<UInt8>) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)
        var result: [UInt8] = []
        var bits: UInt32 = 0
        var pending: UInt32 = 0
        for byte in bytes {
            bits = (bits << 8 | UInt32(byte)) & 0xFFFF
            pending += 8
            while pending >= 5 {
                pending -= 5
                result.append(alphabet[Int(bits >> pending & 31)])
            }
        }
        if pending > 0 { result.append(alphabet[Int(bits << (5 - pending) & 31)]) }
        return String(decoding: result, as: UTF8.self)
    }
}
