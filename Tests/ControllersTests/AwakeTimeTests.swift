// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@testable import Controllers

/// After the process stood still, nobody is judged by a silence that it could not hear.
@Suite struct AwakeTimeTests {
    private let start = AwakeTime.Moment(instant: .now, time: Timestamp(seconds: 1_800_000_000))

    private func moment(_ seconds: Int) -> AwakeTime.Moment {
        AwakeTime.Moment(
            instant: start.instant + .seconds(seconds), time: start.time.adding(seconds: Double(seconds)))
    }

    @Test func aGapBeginsTheTimeAnew() {
        let awake = AwakeTime(interval: .seconds(5), now: start)
        for second in stride(from: 5, through: 100, by: 5) { #expect(awake.since(now: moment(second)) == start) }
        // A little late is no gap.
        #expect(awake.since(now: moment(114)) == start)
        #expect(awake.since(now: moment(714)) == moment(714))
        #expect(awake.since(now: moment(719)) == moment(714))
        // Whose clock is read late by another thread does not move it back.
        #expect(awake.since(now: moment(718)) == moment(714))
    }

    @Test func aNodeIsGivenTheWholeGraceAfterAGap() {
        let awake = AwakeTime(interval: .seconds(5), now: start)
        let seen = NodeLifecycle.SeenNodes(awake)
        #expect(seen.silence(of: "a", mark: 1, now: moment(0)) == .zero)
        for second in stride(from: 5, through: 40, by: 5) { _ = awake.since(now: moment(second)) }
        #expect(seen.silence(of: "a", mark: 1, now: moment(45)) == .seconds(45))
        // An hour of sleep: the node was as little awake as we.
        #expect(seen.silence(of: "a", mark: 1, now: moment(3645)) == .zero)
        #expect(seen.silence(of: "a", mark: 1, now: moment(3655)) == .seconds(10))
        // It speaks again, and falls silent for good.
        #expect(seen.silence(of: "a", mark: 2, now: moment(3660)) == .zero)
        for second in stride(from: 3665, through: 3700, by: 5) { _ = awake.since(now: moment(second)) }
        #expect(seen.silence(of: "a", mark: 2, now: moment(3710)) == .seconds(50))
    }

    @Test func aPodIsGivenItsWholeTolerationAfterAGap() {
        var node = KubeObject(.nodes, kind: "Node", name: "n")
        node["spec"]["taints"] = [
            [
                "key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
                "timeAdded": JSON(start.time.description),
            ]
        ]
        var pod = KubeObject(.pods, kind: "Pod", name: "p", namespace: "default")
        pod["spec"]["tolerations"] = [
            [
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            ]
        ]
        func delay(_ now: Int, awakeSince: Int) -> Double? {
            TaintEviction.delay(of: pod, on: node, now: moment(now).time, awakeSince: moment(awakeSince).time)
        }
        #expect(delay(100, awakeSince: -50) == 200)
        #expect(delay(400, awakeSince: -50) == 0)
        // The machine slept from a minute after the taint on, and woke up an hour later.
        #expect(delay(3660, awakeSince: 3660) == 300)
        #expect(delay(3700, awakeSince: 3660) == 260)
        pod["spec"]["tolerations"] = []
        #expect(delay(3660, awakeSince: 3660) == 0)
    }
}
