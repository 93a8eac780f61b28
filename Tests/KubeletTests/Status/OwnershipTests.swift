// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Kubelet
import Testing
import Values

/// The kubelet owns statuses: it writes them when they change, and puts back what others write over them.
@Suite("Ownership of statuses") struct OwnershipTests {
    private func condition(_ object: KubeObject?, _ type: String) -> JSON? {
        object?["status"]["conditions"].array?.first { $0["type"].string == type }
    }

    @Test("a node that was written off, and whatever else was changed of it, is reported again at once")
    func node() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.wait(.nodes, "lab", "ready") { isReady($0) }
                _ = try await rig.client.patch(
                    .nodes, "lab", type: .strategic,
                    [
                        "status": [
                            "conditions": [
                                ["type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"],
                                ["type": "NetworkUnavailable", "status": "False", "reason": "NotOurs"],
                            ], "capacity": ["pods": "7"], "nodeInfo": ["kubeletVersion": "v0"],
                            "addresses": [["type": "ExternalIP", "address": "192.0.2.9"]],
                        ]
                    ], subresource: "status")
                let node = try await rig.wait(.nodes, "lab", "ready again") { isReady($0) }
                #expect(condition(node, "Ready")["reason"].string == "KubeletReady")
                #expect(condition(node, "NetworkUnavailable")["reason"].string == "NotOurs")
                #expect(node?["status"]["capacity"]["pods"].string == "110")
                #expect(node?["status"]["nodeInfo"]["kubeletVersion"].string != "v0")
                #expect(
                    node?["status"]["addresses"].array?.map { $0["type"].string } == ["InternalIP", "Hostname"])
            }
        }
    }

    @Test("resources that somebody tells of can be used, until he takes them back")
    func extendedResources() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.wait(.nodes, "lab", "ready") { isReady($0) }
                func tell(_ amount: JSON) async throws {
                    _ = try await rig.client.patch(
                        .nodes, "lab", type: .strategic, ["status": ["capacity": ["example.com/dongle": amount]]],
                        subresource: "status")
                }
                try await tell("3")
                let node = try await rig.wait(.nodes, "lab", "allocatable") {
                    $0?["status"]["allocatable"]["example.com/dongle"].string == "3"
                }
                #expect(node?["status"]["capacity"]["example.com/dongle"].string == "3")
                let dongles =
                    #"{"containers":[{"name":"c","image":"app:1","resources":{"limits":{"example.com/dongle":"2"}}}]}"#
                try await rig.create("one", dongles)
                try await rig.wait(pod: "one") { isReady($0) }
                try await rig.create("two", dongles)
                let refused = try await rig.wait(pod: "two") { $0?["status"]["phase"].string == "Failed" }
                #expect(
                    refused?["status"]["message"].string
                        == "Pod was rejected: Node didn't have enough resource: example.com/dongle, requested: 2, used: 2, capacity: 3"
                )
                try await tell(.null)
                try await rig.wait(.nodes, "lab", "taken back") {
                    $0?["status"]["allocatable"]["example.com/dongle"] == nil
                }
            }
        }
    }

    @Test("a pod's status that somebody changed is put back; conditions of others stay")
    func pod() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", KubeletSuite.simple)
                let before = try await rig.wait(pod: "web") { isReady($0) }
                _ = try await rig.client.patch(
                    .pods, "web", in: "default", type: .strategic,
                    [
                        "status": [
                            "podIP": "192.0.2.1", "podIPs": [["$patch": "replace"], ["ip": "192.0.2.1"]],
                            "conditions": [
                                ["type": "Ready", "status": "False", "reason": "NodeLost"],
                                ["type": "example.com/seen", "status": "True"],
                            ],
                        ]
                    ], subresource: "status")
                let after = try await rig.wait(pod: "web", "put back") {
                    isReady($0) && $0?["status"]["podIP"] == before?["status"]["podIP"]
                }
                #expect(after?["status"]["podIPs"] == before?["status"]["podIPs"])
                #expect(condition(after, "Ready") == condition(before, "Ready"))
                #expect(condition(after, "example.com/seen")["status"].string == "True")
            }
        }
    }

    @Test("a pod that somebody ended is over, and its containers with it")
    func endedByOthers() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", KubeletSuite.simple)
                try await rig.wait(pod: "web") { isReady($0) }
                _ = try await rig.client.patch(
                    .pods, "web", in: "default", type: .strategic,
                    ["status": ["phase": "Failed", "reason": "Evicted"]], subresource: "status")
                let pod = try await rig.wait(pod: "web", "its container ended") {
                    $0?["status"]["containerStatuses"][0]["state"]["terminated"] != nil
                }
                #expect(pod?["status"]["phase"].string == "Failed")
                #expect(pod?["status"]["reason"].string == "Evicted")
            }
        }
    }

    @Test("a status is written when it changed, and not for a label, a look, or a kubelet that starts anew")
    func unchanged() async throws {
        try await Rig.with { rig in
            let version = ValueBox("")
            try await rig.running {
                let created = try await rig.create("web", KubeletSuite.simple)
                let ready = try await rig.wait(pod: "web") { isReady($0) }
                // Waiting for its image, and running.
                let watch = try await rig.client.watch(
                    .pods, in: "default", fieldSelector: "metadata.name=web",
                    resourceVersion: created.resourceVersion)
                var writes = 0
                reading: for try await batch in watch {
                    for event in batch where event.type != .bookmark {
                        writes += 1
                        if event.object.resourceVersion == ready?.resourceVersion { break reading }
                    }
                }
                #expect(writes <= 2)
                let labelled = try await rig.client.patch(
                    .pods, "web", in: "default", type: .merge, ["metadata": ["labels": ["a": "b"]]])
                // Another pod's way to Ready is longer than what the kubelet might write of this one.
                try await rig.create("next", KubeletSuite.simple)
                try await rig.wait(pod: "next") { isReady($0) }
                let now = try await rig.client.get(.pods, "web", in: "default")
                #expect(now.resourceVersion == labelled.resourceVersion)
                version.value = now.resourceVersion
            }
            try await rig.running {
                try await rig.create("third", KubeletSuite.simple)
                try await rig.wait(pod: "third") { isReady($0) }
                let now = try await rig.client.get(.pods, "web", in: "default")
                #expect(now.resourceVersion == version.value)
            }
        }
    }

    @Test("null and absence are the same, other people's fields are not looked at")
    func difference() {
        let written: JSON = [
            "phase": "Running", "reason": .null,
            "conditions": [["type": "Ready", "status": "True", "lastProbeTime": .null]],
        ]
        var seen: JSON = [
            "phase": "Running", "nominatedNodeName": "x",
            "conditions": [["type": "other", "status": "True"], ["status": "True", "type": "Ready"]],
        ]
        #expect(!OwnedStatus.pod.differs(seen, from: written))
        seen["conditions"] = [["type": "Ready", "status": "False"]]
        #expect(OwnedStatus.pod.differs(seen, from: written))
        seen["conditions"] = []
        #expect(OwnedStatus.pod.differs(seen, from: written))
    }

    @Test("a gap of the clock", arguments: [(10, false), (12, false), (15, true), (70, true), (-5, false)])
    func gap(seconds: Int, isOne: Bool) {
        let start = Timestamp(seconds: 1_000)
        #expect(
            ClockGap.isOne(from: start, to: start.adding(seconds: Double(seconds)), expected: 10) == isOne)
    }
}
