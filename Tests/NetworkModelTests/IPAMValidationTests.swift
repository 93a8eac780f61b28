// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct IPAMValidationTests {
    private func object(_ spec: JSON, name: String = "default") -> KubeObject {
        IPPoolValidationTests.pool(name, spec)
    }

    static let configs: [(JSON, String?)] = [
        ([:], nil), (["strictAffinity": true, "maxBlocksPerHost": 20, "ipCooldownSeconds": 1200], nil),
        (["ipCooldownSeconds": 0, "maxBlocksPerHost": 0], nil), (["ipCooldownSeconds": 1201], "from 0 to 1200"),
        (["ipCooldownSeconds": -1], "from 0 to 1200"), (["maxBlocksPerHost": 1], "needs strictAffinity"),
        (["strictAffinity": true, "maxBlocksPerHost": 2_147_483_647], nil),
        (["strictAffinity": true, "maxBlocksPerHost": 2_147_483_648], "from 0 to 2147483647"),
        (["strictAffinity": false, "autoAllocateBlocks": false], "must be able to claim blocks"),
        (["strictAffinity": true, "autoAllocateBlocks": false], nil),
        (["kubeVirtVMAddressPersistence": "On"], "Unsupported value"), (["maxBlocksPerHost": "x"], "from 0"),
    ]

    @Test(arguments: configs) func config(spec: JSON, word: String?) {
        let text = IPAMValidation.config(object(spec)).map(\.description).joined(separator: "\n")
        #expect(word.map { text.contains($0) } ?? text.isEmpty, "\(text)")
    }

    @Test func configIsOne() { #expect(IPAMValidation.config(object([:], name: "other")).count == 1) }

    static let reservations: [([JSON], Int)] = [
        ([], 0), (["10.0.0.0/29", "10.0.0.9", "fd00::1"], 0), (["10.0.0.1/29"], 1), (["x", 3, nil], 3),
        (["10.0.0.1", "10.0.0.1/32"], 1),
    ]

    @Test(arguments: reservations) func reservation(cidrs: [JSON], errors: Int) {
        let object = object(["reservedCIDRs": .array(cidrs)])
        #expect(IPAMValidation.reservation(object).count == errors)
    }

    static let affinities: [(JSON, Int)] = [
        (["cidr": "10.0.0.0/26", "node": "a", "state": "confirmed", "type": "host", "deleted": "false"], 0),
        (["cidr": "10.0.0.0/26", "node": "a"], 0), ([:], 2), (["cidr": "10.0.0.1/26", "node": ""], 2),
        (["cidr": "10.0.0.0/26", "node": "a", "state": "mine", "type": "rack"], 2),
    ]

    @Test(arguments: affinities) func affinity(spec: JSON, errors: Int) {
        #expect(IPAMValidation.affinity(object(spec, name: "a-10-0-0-0-26")).count == errors)
    }

    @Test func blocksOfAnotherSizeDoNotOverlap() throws {
        let now = Timestamp(seconds: 0)
        let (wide, narrow) = (try #require(CIDR("10.0.0.0/26")), try #require(CIDR("10.0.0.32/28")))
        let others = [wide]
        let same = IPAMBlock(wide, node: "a", now: now).encodedForWrite()
        #expect(IPAMValidation.block(same, others: others).isEmpty)
        #expect(IPAMNames.cidr(ofBlock: IPAMNames.block(narrow)) == narrow)
        let six = try #require(CIDR("fd00:1::40/122"))
        #expect(IPAMNames.cidr(ofBlock: IPAMNames.block(six)) == six && IPAMNames.cidr(ofBlock: "x-y") == nil)
        let pool = IPPoolValidationTests.pool("p", ["cidr": "10.0.0.0/24", "blockSize": 28])
        #expect(
            IPAMValidation.newPool(pool, blocks: others).first?.description.contains("set spec.blockSize to 26") == true
        )
        #expect(IPAMValidation.newPool(pool, blocks: [narrow]).isEmpty)
        let clash = IPAMBlock(narrow, node: "b", now: now).encodedForWrite()
        #expect(
            IPAMValidation.block(clash, others: others).first?.description.contains("overlaps block 10.0.0.0/26")
                == true)
    }
}

@Suite struct AllocationScaleTests {
    /// What the decision costs does not grow with the number of blocks: the same for an exhausted pool.
    @Test func aThousandNodes() throws {
        let names = (0..<1000).map { "node-\($0)" }
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/16", block: 26)], nodes: names)
        for index in 0..<3000 { try sample.take(names[index % 1000], "h\(index)") }
        #expect(sample.snapshot.blocks.count == 1000)
        for name in names.prefix(100) { try sample.take(name, "fill-\(name)", count: 61) }
        sample.check("a thousand nodes")
        #expect(sample.held.values.reduce(0) { $0 + $1.count } == 9_100)
    }
}
