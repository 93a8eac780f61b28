// SPDX-License-Identifier: Apache-2.0
import Linux
import Testing

@Suite("Figures of groups") struct CgroupFigureTests {
    @Test("block devices, as either hierarchy tells of them")
    func devices() {
        let first = CgroupLayout.devices(
            bytes: "8:0 Read 4096\n8:0 Write 100\n8:0 Total 4196\n8:16 Write 7\nTotal 4203\n",
            operations: "8:0 Read 2\n8:0 Write 1\nTotal 3\n")
        #expect(first.map(\.number) == ["8:0", "8:16"])
        #expect(first[0].readBytes == 4096 && first[0].writtenBytes == 100)
        #expect(first[0].reads == 2 && first[0].writes == 1)
        #expect(first[1].writtenBytes == 7 && first[1].reads == 0)
        let second = CgroupLayout.devices(
            unified: "8:0 rbytes=4096 wbytes=100 rios=2 wios=1 dbytes=0 dios=0\n259:1 rbytes=x\nnonsense\n")
        #expect(second.map(\.number) == ["8:0", "259:1"])
        #expect(second[0] == first[0])
        #expect(second[1].readBytes == 0)
    }

    @Test("shares and weights are each other's way back", arguments: [2, 102, 1024, 10_000, 262_144] as [UInt64])
    func shares(shares: UInt64) {
        let back = CgroupLimits.shares(forWeight: CgroupLimits.weight(forShares: shares))
        // A weight stands for some 26 shares.
        #expect(back <= shares && shares - back <= 27)
    }
}
