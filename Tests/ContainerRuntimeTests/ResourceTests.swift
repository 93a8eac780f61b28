// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Testing

@Suite struct ResourceTests {
    @Test(arguments: [(100, 102), (0, 2), (1000, 1024), (1_000_000, 262_144)])
    func sharesFollowTheRequest(milli: Int, shares: Int) {
        let resources = ContainerResources.kubernetes(
            cpuRequestMilli: milli, cpuLimitMilli: nil, memoryLimitBytes: nil)
        #expect(resources.cpuShares == shares)
        #expect(resources.cpuQuota == nil)
    }

    @Test func aLimitBecomesQuota() {
        let resources = ContainerResources.kubernetes(
            cpuRequestMilli: 250, cpuLimitMilli: 500, memoryLimitBytes: 1 << 20)
        #expect(resources.cpuQuota == 50_000)
        #expect(resources.cpuPeriod == 100_000)
        #expect(resources.memoryLimitBytes == 1 << 20)
    }
}
