// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Testing
import Values

@Suite struct WaitingPodsTests {
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static func pod(_ uid: Int, _ priority: Int) -> PodInfo {
        var pod = KubeObject(.pods, kind: "Pod", name: "p\(uid)", namespace: "default")
        pod.metadata["uid"] = JSON("\(uid)")
        pod["spec"] = ["priority": JSON(priority)]
        return PodInfo(pod)
    }

    /// Against a list that is sorted each time.
    @Test(arguments: UInt64(1)...6) func theFirstByPriorityThenByArrival(seed: UInt64) {
        var random = Seeded(state: seed)
        var waiting = WaitingPods()
        var list: [(uid: String, priority: Int, arrival: Int)] = []
        for step in 0..<3000 {
            let uid = Int.random(in: 0..<200, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0...4:
                let priority = Int.random(in: 0..<4, using: &random)
                waiting.insert(Self.pod(uid, priority))
                if let index = list.firstIndex(where: { $0.uid == "\(uid)" }) {
                    list[index].priority = priority
                } else {
                    list.append(("\(uid)", priority, step))
                }
            case 5, 6:
                waiting.remove("\(uid)")
                list.removeAll { $0.uid == "\(uid)" }
            default:
                let first = list.min { ($1.priority, $0.arrival) < ($0.priority, $1.arrival) }
                #expect(waiting.popFirst()?.uid == first?.uid, "step \(step)")
                list.removeAll { $0.uid == first?.uid }
            }
            #expect(waiting.count == list.count)
            #expect(waiting.isEmpty == list.isEmpty)
        }
    }
}
