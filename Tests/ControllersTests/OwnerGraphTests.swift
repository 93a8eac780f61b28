// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Testing
import Values

@Suite struct OwnerGraphTests {
    private func item(
        _ name: String, owners: [(String, Bool)] = [], deleting: Bool = false, finalizers: [String] = []
    ) -> OwnerGraph.Item {
        var object = KubeObject(.configMaps, kind: "ConfigMap", name: name, namespace: "default")
        object.metadata["uid"] = JSON(name)
        if !owners.isEmpty {
            object.metadata["ownerReferences"] = .array(
                owners.map {
                    [
                        "apiVersion": "v1", "kind": "ConfigMap", "name": JSON($0.0), "uid": JSON($0.0),
                        "blockOwnerDeletion": JSON($0.1),
                    ]
                })
        }
        if deleting { object.metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z" }
        if !finalizers.isEmpty { object.metadata["finalizers"] = JSON(finalizers) }
        return OwnerGraph.Item(.configMaps, object)
    }

    @Test func dependentsFollowTheirLastOwner() {
        var graph = OwnerGraph()
        _ = graph.changed(item("owner"))
        _ = graph.changed(item("child", owners: [("owner", true)]))
        #expect(graph.verdict(on: "child") == .keep)
        let outcome1 = graph.left("owner")
        #expect(outcome1 == ["child"])
        #expect(graph.verdict(on: "child") == .delete(policy: "Background"))
    }

    @Test func anotherOwnerKeepsTheDependent() {
        var graph = OwnerGraph()
        _ = graph.changed(item("one"))
        _ = graph.changed(item("two"))
        _ = graph.changed(item("child", owners: [("one", true), ("two", true)]))
        _ = graph.left("one")
        #expect(graph.verdict(on: "child") == .dropReferences(["one"]))
    }

    @Test func anOwnerNeverSeenIsLookedUpFirst() {
        var graph = OwnerGraph()
        let child = item("child", owners: [("ghost", true)])
        let outcome2 = graph.changed(child)
        #expect(outcome2 == ["child"])
        #expect(graph.verdict(on: "child") == .lookUp(child.owners))
        graph.noteAbsent("ghost")
        #expect(graph.verdict(on: "child") == .delete(policy: "Background"))
    }

    /// The answer to the patch that let a dependent go may be read after the event of its end.
    @Test func whatIsHeardOfOneThatHasGoneIsNotBelieved() {
        var graph = OwnerGraph()
        let dependent = item("dependent", owners: [("owner", true)], deleting: true)
        _ = graph.changed(dependent)
        _ = graph.changed(item("owner", deleting: true, finalizers: [OwnerGraph.foreground]))
        _ = graph.left("dependent")
        _ = graph.changed(dependent)
        #expect(graph.verdict(on: "owner") == .release(finalizer: OwnerGraph.foreground))
        // A list that is older than an object does not have it: that is no end.
        let young = item("young", owners: [("owner", true)])
        _ = graph.changed(young)
        _ = graph.left("young", seen: false)
        _ = graph.changed(young)
        #expect(graph.blockers(of: "owner") == [young])
    }

    @Test func foregroundWaitsForThoseWhoBlock() {
        var graph = OwnerGraph()
        _ = graph.changed(item("blocking", owners: [("owner", true)]))
        _ = graph.changed(item("loose", owners: [("owner", false)]))
        let owner = item("owner", deleting: true, finalizers: [OwnerGraph.foreground])
        let outcome3 = graph.changed(owner)
        #expect(outcome3.contains("owner"))
        guard case .wait(let doomed) = graph.verdict(on: "owner") else {
            Issue.record("the owner does not wait")
            return
        }
        #expect(Set(doomed.map(\.uid)) == ["blocking", "loose"])
        let outcome4 = graph.left("blocking")
        #expect(outcome4.contains("owner"))
        #expect(graph.verdict(on: "owner") == .release(finalizer: OwnerGraph.foreground))
    }

    @Test func thoseThatWaitInACircleWaitForNobody() {
        var graph = OwnerGraph()
        let finalizers = [OwnerGraph.foreground]
        _ = graph.changed(item("one", owners: [("three", true)], deleting: true, finalizers: finalizers))
        _ = graph.changed(item("two", owners: [("one", true)], deleting: true, finalizers: finalizers))
        _ = graph.changed(item("three", owners: [("two", true)]))
        #expect(graph.verdict(on: "one") == .wait(delete: []))
        let work = graph.changed(item("three", owners: [("two", true)], deleting: true, finalizers: finalizers))
        #expect(work.contains("two"))
        #expect(graph.verdict(on: "two") == .release(finalizer: OwnerGraph.foreground))
        // One that blocks from outside of the circle is waited for.
        _ = graph.changed(item("outside", owners: [("two", true)]))
        guard case .wait(let doomed) = graph.verdict(on: "two") else {
            Issue.record("two does not wait")
            return
        }
        #expect(doomed.map(\.uid) == ["outside"])
    }

    @Test func orphansLoseTheirReference() {
        var graph = OwnerGraph()
        let child = item("child", owners: [("owner", true)])
        _ = graph.changed(child)
        _ = graph.changed(item("owner", deleting: true, finalizers: [OwnerGraph.orphan]))
        #expect(graph.verdict(on: "owner") == .orphan([child]))
        _ = graph.changed(item("child"))
        #expect(graph.verdict(on: "owner") == .release(finalizer: OwnerGraph.orphan))
    }

    @Test func aChildOfAWaitingOwnerGoesInTheForegroundIfItHasChildren() {
        var graph = OwnerGraph()
        _ = graph.changed(item("owner", deleting: true, finalizers: [OwnerGraph.foreground]))
        _ = graph.changed(item("middle", owners: [("owner", true)]))
        _ = graph.changed(item("leaf", owners: [("middle", true)]))
        #expect(graph.verdict(on: "middle") == .delete(policy: "Foreground"))
    }

    @Test func relistingFindsWhoWentUnseen() {
        var graph = OwnerGraph()
        _ = graph.changed(item("a"))
        _ = graph.changed(item("b"))
        #expect(graph.missing(.configMaps, among: ["a"]) == ["b"])
    }
}
