// SPDX-License-Identifier: Apache-2.0

import KubeClient
import APIServer
import KubeObjects
import Storage
import Testing
import Values

@Suite struct WatchTests {
    private let path = "/api/v1/namespaces/default/configmaps"

    @Test func eventsComeInOrderAndCanBeResumed() async throws {
        let fixture = try await Fixture()
        let list = try await fixture.send("GET", path)
        let start = try #require(list.json["metadata"]["resourceVersion"].string)
        let live = try await fixture.watch(path + "?resourceVersion=\(start)")
        let created = try await fixture.client.create(.configMaps, configMap("a", ["x": "1"]))
        var changed = created
        changed["data"]["x"] = "2"
        _ = try await fixture.client.update(.configMaps, changed)
        try await fixture.client.delete(.configMaps, "a", in: "default")
        for watch in [live, try await fixture.watch(path + "?resourceVersion=\(start)")] {
            #expect(try await watch.summary() == "ADDED a")
            #expect(try await watch.summary() == "MODIFIED a")
            let deleted = try await watch.next()
            #expect(deleted["type"].string == "DELETED")
            #expect(deleted["object"]["data"]["x"].string == "2")
            let version = try #require(deleted["object"]["metadata"]["resourceVersion"].string.flatMap { Int64($0) })
            #expect(version == fixture.storage.currentRevision)
        }
        let later = try await fixture.watch(path + "?resourceVersion=\(created.resourceVersion)")
        #expect(try await later.summary() == "MODIFIED a")
    }

    @Test func aWatchGoesOnAtAServerThatWasStartedAnew() async throws {
        let fixture = try await Fixture(bootstrap: false)
        try await fixture.server.bootstrap()
        let first = try await fixture.client.create(.configMaps, configMap("a", ["n": "1"], labels: ["app": "x"]))
        var changed = first
        changed["metadata"]["labels"] = ["app": "y"]
        changed = try await fixture.client.update(.configMaps, changed)
        try await fixture.client.delete(.configMaps, "a", in: "default")
        _ = try await fixture.client.create(.configMaps, configMap("b"))
        fixture.server.stop()

        let next = try await Fixture(over: fixture.storage)
        let path = "/api/v1/namespaces/default/configmaps"
        let all = try await next.watch("\(path)?resourceVersion=\(first.resourceVersion)")
        #expect(try await all.summary() == "MODIFIED a")
        #expect(try await all.summary() == "DELETED a")
        #expect(try await all.summary() == "ADDED b")
        _ = try await next.client.create(.configMaps, configMap("c"))
        #expect(try await all.summary() == "ADDED c")
        // What an object was before the change decides what a selection is told of it.
        let some = try await next.watch("\(path)?resourceVersion=\(first.resourceVersion)&labelSelector=app=x")
        #expect(try await some.summary() == "DELETED a")
        try await next.storage.compact(to: next.storage.currentRevision)
        next.server.stop()
        let last = try await Fixture(over: fixture.storage)
        let gone = try await last.watch("\(path)?resourceVersion=\(first.resourceVersion)")
        #expect(gone.status == 410)
    }

    @Test func withoutAVersionWhatIsThereComesFirst() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        for query in ["", "?resourceVersion=0"] {
            let watch = try await fixture.watch(path + query)
            #expect(try await watch.summary() == "ADDED a")
        }
    }

    @Test func initialEventsEndWithABookmark() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        let query = "?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        let watch = try await fixture.watch(path + query)
        #expect(try await watch.summary() == "ADDED a")
        let bookmark = try await watch.next()
        #expect(bookmark["type"].string == "BOOKMARK")
        #expect(bookmark["object"]["kind"].string == "ConfigMap")
        #expect(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].string == "true")
        _ = try await fixture.client.create(.configMaps, configMap("b"))
        #expect(try await watch.summary() == "ADDED b")
        let refused = try await fixture.watch(path + "?sendInitialEvents=true")
        #expect(refused.status == 422)
    }

    @Test func objectsEnterAndLeaveASelection() async throws {
        let fixture = try await Fixture()
        let list = try await fixture.send("GET", path)
        let start = list.json["metadata"]["resourceVersion"].string ?? ""
        let watch = try await fixture.watch(path + "?resourceVersion=\(start)&labelSelector=on=yes")
        var object = try await fixture.client.create(.configMaps, configMap("a"))
        object.metadata["labels"] = ["on": "yes"]
        object = try await fixture.client.update(.configMaps, object)
        object["data"] = ["x": "1"]
        object = try await fixture.client.update(.configMaps, object)
        object.metadata["labels"] = ["on": "no"]
        object = try await fixture.client.update(.configMaps, object)
        try await fixture.client.delete(.configMaps, "a", in: "default")
        #expect(try await watch.summary() == "ADDED a")
        #expect(try await watch.summary() == "MODIFIED a")
        let left = try await watch.next()
        #expect(left["type"].string == "DELETED")
        #expect(left["object"]["metadata"]["labels"]["on"].string == "yes")
        #expect(left["object"]["metadata"]["resourceVersion"].string == object.resourceVersion)
    }

    @Test func aWatchOfTheFutureAndOfTheForgottenIsRefused() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.watch(path + "?resourceVersion=99999").status == 504)
        for index in 0..<6 {
            // More changes than are remembered.
            for _ in 0..<1000 {
                _ = try await fixture.storage.put(
                    "/registry/core/configmaps/default/x\(index)", Array("{}".utf8), expecting: nil)
            }
        }
        let old = try await fixture.watch(path + "?resourceVersion=1")
        #expect(old.status == 410)
        let status = try await old.next()
        #expect(status["reason"].string == "Expired")
        #expect(status["message"].string?.hasPrefix("too old resource version: 1 (") == true)
    }

    @Test func watchesOfTablesNameTheColumnsOnce() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        _ = try await fixture.client.create(.configMaps, configMap("b"))
        let watch = try await fixture.watch(path, accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
        let first = try await watch.next()
        #expect(first["object"]["kind"].string == "Table")
        #expect(first["object"]["columnDefinitions"].array?.isEmpty == false)
        let second = try await watch.next()
        #expect(second["object"]["columnDefinitions"].array?.isEmpty == true)
        #expect(second["object"]["rows"][0]["cells"][0].string == "b")
    }

    @Test func aWatchEndsWhenItsTimeIsUp() async throws {
        let fixture = try await Fixture()
        let watch = try await fixture.watch(path + "?timeoutSeconds=1&resourceVersion=0")
        #expect(try await watch.next() == nil)
    }
}
