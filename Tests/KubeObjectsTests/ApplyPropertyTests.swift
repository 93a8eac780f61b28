// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// What holds of server-side apply whatever is applied.
@Suite struct ApplyPropertyTests {
    private let rules: ServerSideApply
    private let time = "2026-01-01T00:00:00Z"

    init() throws {
        rules = ServerSideApply(
            try #require(ResourceRegistry.shared.resource(GroupVersionResource("", "v1", "pods"))))
    }

    /// Numbers that look drawn and are the same each time (xorshift64*).
    private struct Draw {
        var state: UInt64
        mutating func below(_ bound: Int) -> Int {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
        }
        mutating func some<Element>(_ list: [Element]) -> [Element] { list.filter { _ in below(2) == 0 } }
    }

    /// A pod with some of a few labels, finalizers, containers and ports.
    private func wish(_ draw: inout Draw) -> KubeObject {
        var labels: JSON = [:]
        for key in draw.some(["a", "b", "c"]) { labels[key] = JSON("\(draw.below(2))") }
        let containers: [JSON] = draw.some(["x", "y", "z"]).map { name in
            var container: JSON = ["name": JSON(name), "image": JSON("i\(draw.below(2))")]
            let ports: [JSON] = draw.some([80, 81]).map { ["containerPort": JSON($0), "protocol": "TCP"] }
            if !ports.isEmpty { container["ports"] = .array(ports) }
            if draw.below(3) == 0 { container["args"] = [JSON("\(draw.below(2))")] }
            return container
        }
        var object: JSON = ["apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p"]]
        if labels.object?.isEmpty == false { object["metadata"]["labels"] = labels }
        let finalizers = draw.some(["f", "g"]).map { JSON($0) }
        if !finalizers.isEmpty { object["metadata"]["finalizers"] = .array(finalizers) }
        if !containers.isEmpty { object["spec"] = ["containers": .array(containers)] }
        return KubeObject(object)
    }

    private func writer(_ index: Int) -> ManagedFields.Writer {
        ManagedFields.Writer(manager: "m\(index)", operation: .apply, apiVersion: "v1")
    }

    @Test(arguments: 1...40) func managersThatTakeTurns(seed: UInt64) throws {
        var draw = Draw(state: seed &* 0x9E37_79B9_7F4A_7C15)
        var live = KubeObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p", "labels": ["never": "1"]],
        ])
        var managed = ManagedFields([
            [
                "manager": "first", "operation": "Update", "apiVersion": "v1",
                "fieldsV1": ["f:metadata": ["f:labels": ["f:never": [:]]]],
            ]
        ])
        for _ in 0..<25 {
            let wish = wish(&draw)
            let who = writer(draw.below(3))
            let stated = rules.fields(wish)
            let (object, owners) = try rules.apply(wish, to: live, managed, who, force: true, time: time)
            // It owns what it stated, and everything that it stated is there as it stated it.
            #expect(owners.fields(of: who) ?? FieldSet() == stated)
            #expect(stated.subtracting(rules.fields(object)).isEmpty)
            // Once more changes nothing, forced or not; another who states the same shares it.
            let again = try rules.apply(wish, to: object, owners, who, force: false, time: "later")
            #expect(again.object == object && again.managed == owners)
            let shared = try rules.apply(wish, to: object, owners, writer(9), force: false, time: time)
            #expect(shared.object == object)
            // Nobody owns what is not there.
            let dead = owners.entries.filter { $0.writer.manager != "first" }.map(\.fields)
                .reduce(FieldSet()) { $0.union($1) }.subtracting(rules.fields(object))
            #expect(dead.isEmpty, "\(dead.descriptions)")
            // The list says the same after a round over the wire.
            #expect(ManagedFields(owners.json).json == owners.json)
            (live, managed) = (object, owners)
        }
        // When everybody has let go, nothing is left that nobody wanted to keep.
        let empty = KubeObject(["apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p"]])
        for index in 0..<3 {
            (live, managed) = try rules.apply(empty, to: live, managed, writer(index), force: false, time: time)
        }
        #expect(rules.fields(live).descriptions == [".metadata.labels.never"], "\(live.json)")
        #expect(managed.entries.map(\.writer.manager) == ["first"])
    }

    /// Writers that do not apply, in turn with those that do.
    @Test(arguments: 1...40) func writersThatTakeTurns(seed: UInt64) throws {
        var draw = Draw(state: seed &* 0x9E37_79B9_7F4A_7C15)
        var live = wish(&draw)
        func updater(_ index: Int) -> ManagedFields.Writer {
            ManagedFields.Writer(manager: "u\(index)", operation: .update, apiVersion: "v1")
        }
        var list = rules.created(live, updater(0), time: time)
        for _ in 0..<25 {
            let new = wish(&draw)
            let who = updater(draw.below(4))
            let owners = ManagedFields(rules.updated(new, from: live, list, who, time: "later"))
            // Nobody owns what is not there, and all that is there has an owner.
            #expect(owners.all.subtracting(rules.fields(new)).isEmpty, "\(owners.json)")
            #expect(rules.fields(new).subtracting(owners.all).isEmpty, "\(owners.json)")
            // What is new or differs is the writer's alone: whoever else has something had it before.
            for entry in owners.entries where entry.writer != who {
                let had = ManagedFields(list).fields(of: entry.writer) ?? FieldSet()
                #expect(entry.fields.subtracting(had).isEmpty)
                #expect(entry.time == ManagedFields(list).entries.first { $0.writer == entry.writer }?.time)
            }
            let own = owners.fields(of: who) ?? FieldSet()
            let before = ManagedFields(list).fields(of: who) ?? FieldSet()
            for other in owners.entries where other.writer != who {
                #expect(other.fields.intersection(own.subtracting(before)).isEmpty)
            }
            // The same once more changes nothing, whoever writes it.
            #expect(rules.updated(new, from: new, owners.json, updater(9), time: "latest") ?? [] == owners.json)
            // The list is the same that the sets make of it.
            #expect(ManagedFields(owners.json).json == owners.json)
            (live, list) = (new, owners.isEmpty ? nil : owners.json)
        }
    }

    @Test(arguments: 1...40) func sets(seed: UInt64) {
        var draw = Draw(state: seed &* 0x9E37_79B9_7F4A_7C15)
        let (a, b, c) = (rules.fields(wish(&draw)), rules.fields(wish(&draw)), rules.fields(wish(&draw)))
        #expect(FieldSet(fieldsV1: a.fieldsV1) == a || a.isEmpty)
        #expect(a.union(b) == b.union(a) && a.union(a) == a && a.intersection(b) == b.intersection(a))
        #expect(a.union(b).subtracting(b).union(b) == a.union(b))
        #expect(a.subtracting(b).intersection(b).isEmpty)
        #expect(a.subtracting(b).union(a.intersection(b)) == a)
        #expect(a.intersection(b.union(c)) == a.intersection(b).union(a.intersection(c)))
        let paths = Set(a.descriptions)
        #expect(Set(a.union(b).descriptions) == paths.union(b.descriptions))
        #expect(Set(a.subtracting(b).descriptions) == paths.subtracting(b.descriptions))
    }

    /// Shapes that a client may send: read or refused, never a trap.
    @Test func setsThatAreNone() {
        #expect(FieldSet(fieldsV1: 7) == nil && FieldSet(fieldsV1: ["x:a": [:]]) == nil)
        #expect(FieldSet(fieldsV1: ["f:a": "b"]) == nil)
        let list: JSON = [[:], 7, ["operation": "Frob"], ["operation": "Apply", "fieldsV1": ["f:a": [:]]]]
        #expect(ManagedFields(list).entries.map(\.fields.descriptions) == [[".a"]])
        #expect(ManagedFields([[:]]).isEmpty && ManagedFields(nil).isEmpty)
    }
}
