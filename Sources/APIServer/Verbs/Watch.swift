// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import Storage
import Values

extension APIServer {
    /// GET of a collection with `watch=true`: for each change a line of JSON, or a frame of protobuf.
    func watch(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context, isStream: true)
        let selection = try Selection(context)
        let webSocket = try context.request.webSocket(nil)
        let options = try ListOptions(context.request, isWatch: true)
        let start = watchStart(options)
        if case .after(let revision) = start.from {
            let newest = await storage.currentRevision
            // Informers may come with a version from before the store was replaced.
            if revision > newest { throw StatusError.tooLargeResourceVersion(revision, current: newest) }
            try await mirror.reached(revision)
        }
        let key = storageKey(context.type)
        let timeout = options.timeoutSeconds ?? Self.watchSeconds()
        let (watch, oldest) = mirror.watch(key, namespace: context.namespace, from: start.from)
        guard let watch else {
            throw StatusError.tooOldResourceVersion(
                context.request.query("resourceVersion") ?? "", oldest: String(oldest))
        }
        let view = WatchView(selection: selection, prefix: key.prefix(namespace: context.namespace))
        let bookmarks = options.allowsBookmarks
        let mirror = mirror
        if context.request.takesObjects {
            let reader = LocalWatch(mirror, key, watch, view, context.type, options, seconds: timeout)
            return Reply(body: .events(AsyncThrowingStream { await reader.next() }))
        }
        let run: @Sendable (any ByteSink) async throws -> Void = { sink in
            defer { mirror.unsubscribe(key, watch.subscription) }
            var writer = WatchWriter(encoding: encoding, view: view, sink: sink)
            try await writer.begin(watch, endOfInitialEvents: start.marksEnd, bookmarks: bookmarks)
            try await writer.run(
                watch.subscription, seconds: timeout, bookmarks: bookmarks, revision: { mirror.revision })
        }
        let isProtobuf = encoding.encoding == .protobuf
        if let webSocket {
            return webSocket.reply { send in try await run(EventFrames(send: send, isProtobuf: isProtobuf)) }
        }
        return Reply(
            headers: [("Content-Type", encoding.streamType), ("Cache-Control", "no-cache, private")],
            body: .stream(run))
    }

    /// Between half an hour and an hour, so that watches do not all end at once.
    private static func watchSeconds() -> Int { Int.random(in: 1800...3600) }

    private func watchStart(_ options: ListOptions) -> (from: Mirror.WatchStart, marksEnd: Bool) {
        let version = options.resourceVersion.flatMap { $0 > 0 ? $0 : nil }
        if let sendsInitial = options.sendInitialEvents {
            return sendsInitial
                ? (.snapshot, options.allowsBookmarks) : (.after(version ?? mirror.revision), false)
        }
        return (version.map { .after($0) } ?? .snapshot, false)
    }
}

/// The events of a watch as messages of a WebSocket: one each, a text of JSON or the bytes of protobuf.
private struct EventFrames: ByteSink {
    let send: WebSocketStream.Send
    let isProtobuf: Bool

    func write(_ bytes: [UInt8]) async throws {
        guard isProtobuf else {
            for line in bytes.split(separator: UInt8(ascii: "\n")) {
                try await send(WebSocketEncoder.text(line + [UInt8(ascii: "\n")]))
            }
            return
        }
        // A message has a length of its own, so that in front of the event is left away.
        var rest = bytes[...]
        while rest.count >= 4 {
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            try await send(WebSocketEncoder.binary(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
    }
}

/// Which changes a watch is about.
struct WatchView: Sendable {
    let selection: Selection
    /// Keys of other namespaces begin otherwise.
    let prefix: String

    /// What an event is to the watcher; nil when it is nothing: an object that begins to be selected is added, one that
    /// no longer is has been deleted for it. `isShared`: the object is the event's own.
    func change(_ event: CacheEvent) -> (type: String, object: StoredObject, isShared: Bool)? {
        guard event.object.key.hasPrefix(prefix) else { return nil }
        let before = event.previous.map(selection.matches) ?? false
        switch event.kind {
        case .delete:
            guard before || (event.previous == nil && selection.matches(event.object)) else { return nil }
            return ("DELETED", event.object, true)
        case .put:
            let after = selection.matches(event.object)
            switch (before, after) {
            case (false, true): return ("ADDED", event.object, true)
            case (true, true): return ("MODIFIED", event.object, true)
            case (true, false):
                // The last state that was selected, at the revision of the change.
                return ("DELETED", event.previous.map { $0.at(event.revision) } ?? event.object, false)
            case (false, false): return nil
            }
        }
    }
}

/// Writes the events of one watch.
struct WatchWriter: Sendable {
    let encoding: ObjectEncoding
    let view: WatchView
    let sink: any ByteSink
    /// A watch of tables names the columns in its first event only.
    private var hasSentColumns = false

    init(encoding: ObjectEncoding, view: WatchView, sink: any ByteSink) {
        self.encoding = encoding
        self.view = view
        self.sink = sink
    }

    static let initialEventsEnd = "k8s.io/initial-events-end"

    /// Sends what was there or was missed before the live events.
    mutating func begin(_ watch: Mirror.Watch, endOfInitialEvents: Bool, bookmarks: Bool) async throws {
        var bytes: [UInt8] = []
        for object in watch.initial where view.selection.matches(object) {
            bytes += isTable ? tableLine("ADDED", object) : encoding.event("ADDED", object)
            try await flush(&bytes)
        }
        for event in watch.missed {
            bytes += lines(event)
            try await flush(&bytes)
        }
        if endOfInitialEvents { bytes += bookmark(watch.revision, initialEventsEnd: true) }
        // Even without events the answer must begin, or the client waits for its head.
        try await sink.write(bytes)
    }

    /// Sends what has gathered, if it is much: a slow reader must not keep a copy of a whole collection in memory.
    private func flush(_ bytes: inout [UInt8]) async throws {
        guard bytes.count >= 256 << 10 else { return }
        try await sink.write(bytes)
        bytes.removeAll(keepingCapacity: true)
    }

    /// Sends events until the time is up, the watcher has fallen behind or nobody reads any more.
    ///
    /// `revision` is how far the subscription has been told of events when it is asked.
    mutating func run(
        _ subscription: Subscription, seconds: Int, bookmarks: Bool, revision: @escaping @Sendable () -> Int64
    ) async throws {
        let timers = subscription.timers(seconds: seconds, revision)
        defer { timers.cancel() }
        if let outlet = sink.outlet, !isTable {
            let writer = self
            subscription.allow(
                DirectWatch(outlet: outlet) { events in
                    // A single event's line is the one that all watchers share.
                    if events.count == 1, let event = events.first { return writer.objectLines(event) }
                    return events.reduce(into: []) { $0 += writer.objectLines($1) }
                })
        }
        while let signal = await subscription.next() {
            switch signal {
            case .events(let events):
                var bytes: [UInt8] = []
                for event in events { bytes += lines(event) }
                if !bytes.isEmpty { try await sink.write(bytes) }
            case .progress(let revision):
                if bookmarks { try await sink.write(bookmark(revision)) }
            case .timeUp: return
            }
        }
    }

    /// What the watcher is sent of an event.
    mutating func lines(_ event: CacheEvent) -> [UInt8] {
        guard isTable else { return objectLines(event) }
        return view.change(event).map { tableLine($0.type, $0.object) } ?? []
    }

    /// The same where no table is asked for: what a watcher was sent before makes no difference.
    private func objectLines(_ event: CacheEvent) -> [UInt8] {
        guard let change = view.change(event) else { return [] }
        func make() -> [UInt8] { encoding.event(change.type, change.object) }
        return change.isShared ? event.line(change.type, encoding.content, make) : make()
    }

    private var isTable: Bool { if case .table = encoding.form { true } else { false } }

    private mutating func tableLine(_ type: String, _ object: StoredObject) -> [UInt8] {
        let table = encoding.table(
            [encoding.object(object)], metadata: ["resourceVersion": JSON(String(object.revision))],
            withColumns: !hasSentColumns)
        hasSentColumns = true
        return encoding.event(type, of: table)
    }

    private func bookmark(_ revision: Int64, initialEventsEnd: Bool = false) -> [UInt8] {
        var metadata: JSON = ["resourceVersion": JSON(String(revision)), "creationTimestamp": .null]
        if initialEventsEnd { metadata["annotations"] = [Self.initialEventsEnd: "true"] }
        var object: JSON = [
            "kind": JSON(encoding.type.kind), "apiVersion": JSON(encoding.type.apiVersion), "metadata": metadata,
        ]
        switch encoding.form {
        case .object: break
        case .partialMetadata:
            object["kind"] = "PartialObjectMetadata"
            object["apiVersion"] = "meta.k8s.io/v1"
        case .table(let version, _):
            let row: JSON = ["cells": .array([]), "object": object]
            object = [
                "kind": "Table", "apiVersion": JSON("meta.k8s.io/\(version)"), "metadata": metadata,
                "columnDefinitions": .array([]), "rows": initialEventsEnd ? .array([row]) : .array([]),
            ]
        }
        return encoding.event("BOOKMARK", of: object)
    }
}
