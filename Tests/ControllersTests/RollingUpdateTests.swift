// SPDX-License-Identifier: Apache-2.0

import Controllers
import Testing
import Values

@Suite struct RollingUpdateTests {
    typealias Revision = RollingUpdate.Revision

    @Test(arguments: [
        ("25%", "25%", 4, 1, 1), ("25%", "25%", 1, 1, 0), ("25%", "25%", 10, 3, 2), ("0", "0", 3, 0, 1),
        ("100%", "0", 2, 2, 0), ("0", "5", 3, 0, 3),
    ]) func limits(surge: String, unavailable: String, replicas: Int, maxSurge: Int, maxUnavailable: Int) {
        let rule = RollingUpdate(spec: [
            "replicas": JSON(replicas),
            "strategy": ["rollingUpdate": ["maxSurge": JSON(surge), "maxUnavailable": JSON(unavailable)]],
        ])
        #expect(rule.maxSurge == maxSurge)
        #expect(rule.maxUnavailable == maxUnavailable)
    }

    @Test func newRevisionGrowsIntoTheSurge() {
        let rule = RollingUpdate(replicas: 10, maxSurge: 3, maxUnavailable: 2)
        #expect(rule.newRevisionReplicas(0, total: 10) == 3)
        #expect(rule.newRevisionReplicas(3, total: 13) == 3)
        #expect(rule.newRevisionReplicas(3, total: 11) == 5)
        #expect(rule.newRevisionReplicas(9, total: 9) == 10)
        #expect(rule.newRevisionReplicas(12, total: 12) == 10)
    }

    @Test func oldPodsThatDoNotServeGoFirst() {
        let rule = RollingUpdate(replicas: 10, maxSurge: 0, maxUnavailable: 2)
        let old = [
            Revision(name: "a", created: 1, replicas: 8, available: 8),
            Revision(name: "b", created: 2, replicas: 2, available: 0),
        ]
        #expect(rule.oldRevisionReplicas(old, new: nil) == ["b": 0])
    }

    @Test func servingPodsGoOnlyAsFarAsAvailabilityAllows() {
        let rule = RollingUpdate(replicas: 4, maxSurge: 1, maxUnavailable: 1)
        let old = [Revision(name: "a", created: 1, replicas: 4, available: 4)]
        #expect(rule.oldRevisionReplicas(old, new: Revision(name: "n", replicas: 1, available: 0)) == ["a": 3])
        #expect(rule.oldRevisionReplicas(old, new: Revision(name: "n", replicas: 1, available: 1)) == ["a": 2])
    }

    @Test func aRolloutNeverFallsBelowTheMinimumAndEnds() {
        let rule = RollingUpdate(replicas: 7, maxSurge: 2, maxUnavailable: 1)
        var old = [Revision(name: "a", created: 1, replicas: 7, available: 7)]
        var new = Revision(name: "n", created: 2, replicas: 0, available: 0)
        var rounds = 0
        while new.available < 7 || old[0].replicas > 0 {
            rounds += 1
            #expect(rounds < 50)
            if rounds >= 50 { return }
            let total = old[0].replicas + new.replicas
            let grown = rule.newRevisionReplicas(new.replicas, total: total)
            if grown != new.replicas {
                new.replicas = grown
            } else if let size = rule.oldRevisionReplicas(old, new: new)["a"] {
                old[0].replicas = size
                old[0].available = min(old[0].available, size)
            } else {
                new.available = min(new.replicas, new.available + 1)
            }
            #expect(old[0].replicas + new.replicas <= 9)
            #expect(old[0].available + new.available >= 6)
        }
    }

    @Test func scalingInTheMiddleIsProportional() {
        // 10 replicas became 15 while 8 and 5 pods run (surge 3): the five more are shared 3 to 2.
        let rule = RollingUpdate(replicas: 15, maxSurge: 3, maxUnavailable: 2)
        let sizes = rule.proportional(
            [
                Revision(name: "old", created: 1, replicas: 8, maxBeforeScale: 13),
                Revision(name: "new", created: 2, replicas: 5, maxBeforeScale: 13),
            ], statusReplicas: 13)
        #expect(sizes == ["old": 11, "new": 7])
        let none = RollingUpdate(replicas: 0, maxSurge: 0, maxUnavailable: 0)
        let emptied = none.proportional(
            [Revision(name: "old", replicas: 3), Revision(name: "new", replicas: 2)], statusReplicas: 5)
        #expect(emptied == ["old": 0, "new": 0])
    }

    @Test func theSameTemplateHasTheSameName() {
        let one: JSON = ["metadata": ["labels": ["app": "web"]], "spec": ["containers": [["name": "c"]]]]
        let other: JSON = ["spec": ["containers": [["name": "c"]]], "metadata": ["labels": ["app": "web"]]]
        #expect(TemplateHash.name(of: one) == TemplateHash.name(of: other))
        #expect(TemplateHash.name(of: one) != TemplateHash.name(of: one, collisions: 1))
        var hashed = one
        hashed["metadata"]["labels"]["pod-template-hash"] = "abc"
        #expect(PodTemplate.equalIgnoringHash(one, hashed))
        hashed["spec"]["containers"] = [["name": "d"]]
        #expect(!PodTemplate.equalIgnoringHash(one, hashed))
    }
}
