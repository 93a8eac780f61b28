// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@Suite struct HeapTests {
    /// The memory of this process that is in use, in bytes.
    private func resident() throws -> Int {
        let status = try Files.text("/proc/self/status")
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return try #require(Int(line.split(separator: " ").dropLast().last ?? "")) << 10
    }

    @Test func whatIsFreeGoesBackToTheKernel() throws {
        // Below the size from which on the C library asks the kernel for each block by itself.
        var blocks = (0..<4000).map { [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: 32 << 10) }
        let full = try resident()
        // What stays lies between what goes, so that nothing is free at the end of a heap.
        blocks = blocks.indices.filter { $0 % 50 == 49 }.map { blocks[$0] }
        Heap.trim()
        let left = try resident()
        #expect(blocks.count == 80 && blocks.allSatisfy { $0.count == 32 << 10 })
        #expect(left < full - (90 << 20), "\(full >> 20) MB, then \(left >> 20) MB")
    }
}
