// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing
import Values

@Suite struct BlockNameTests {
    /// Whoever looks where ``IPAMNames/namesAround(_:)`` says finds every block that overlaps.
    @Test(arguments: [
        "10.1.2.0/22", "10.255.255.0/24", "fd00:10:244::/112", "1:2:3:4:5:6:7:0/112", "1:2:3:4:5:6:0:0/112", "::/112",
    ])
    func namesAroundHaveAllThatOverlap(_ text: String) throws {
        let range = try #require(CIDR(text))
        let sizes = IPPool.blockSizes(range.family)
        let starts = [0, 1, 63, 64, 192, 255].compactMap { range[UInt128($0)] } + [range.last]
        let blocks = Set(starts.flatMap { start in sizes.compactMap { CIDR(start, $0)?.network } })
        for block in blocks {
            let (names, prefixes) = IPAMNames.namesAround(block)
            for other in blocks where other.overlaps(block) {
                let name = IPAMNames.block(other)
                #expect(names.contains(name) || prefixes.contains { name.hasPrefix($0) }, "\(other) beside \(block)")
            }
            #expect(names.count + prefixes.count < 32)
        }
    }
}
