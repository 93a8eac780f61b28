// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Storage
import Values

extension APIServer {
    /// GET of an object.
    func get(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        try await awaitRequestedVersion(context)
        let object = try current(context)
        // Whoever counts what a quota counts begins here: what it has been charged for is to be there when he does.
        if context.type.storage == .resourceQuotas { await admission.quotas.quiet(context.namespace ?? "") }
        return encoding.reply(object)
    }

    /// A read that must not be older than a version waits for it, if it can come.
    private func awaitRequestedVersion(_ context: RequestContext) async throws {
        guard let asked = try ListOptions.resourceVersion(context.request), asked > 0 else { return }
        let newest = await storage.currentRevision
        if asked > newest { throw StatusError.tooLargeResourceVersion(asked, current: newest) }
        try await mirror.reached(asked)
    }

    // MARK: Lists

    /// GET of a collection.
    func list(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let page = try await page(context)
        if context.request.takesObjects {
            let objects = page.objects.map { VersionConversion.object($0, as: context.type) }
            return Reply(
                body: .objects(
                    ObjectList(
                        items: objects, resourceVersion: String(page.revision), continueToken: page.continueToken)))
        }
        return encoding.list(
            page.objects, revision: page.revision, continueToken: page.continueToken, remaining: page.remaining)
    }

    struct Page: Sendable {
        var objects: [StoredObject]
        var revision: Int64
        var continueToken: String?
        var remaining: Int?
    }

    /// The objects that a list or a deletion of a collection is about.
    func page(_ context: RequestContext) async throws -> Page {
        let selection = try Selection(context)
        let options = try ListOptions(context.request, isWatch: false)
        if let token = options.continueToken {
            return try await continued(context, selection, token, options.limit)
        }
        if options.versionMatch == .exact, let version = options.resourceVersion {
            let newest = await storage.currentRevision
            if version > newest { throw StatusError.tooLargeResourceVersion(version, current: newest) }
            return try await snapshot(context, selection, at: version, from: nil, options.limit)
        }
        try await awaitRequestedVersion(context)
        return present(context, selection, from: nil, options.limit, at: nil)
    }

    /// A page of what the mirror shows now, as of `revision` where that shows the same.
    private func present(
        _ context: RequestContext, _ selection: Selection, from start: String?, _ limit: Int?, at revision: Int64?
    ) -> Page {
        let key = storageKey(context.type)
        guard let limit, selection.isEmpty else {
            let (objects, _, now) = mirror.list(key, namespace: context.namespace, from: start)
            return Self.cut(objects, selection, revision ?? now, limit)
        }
        let (objects, remaining, now) = mirror.list(key, namespace: context.namespace, from: start, limit: limit)
        var page = Page(objects: objects, revision: revision ?? now)
        if remaining > 0, let last = objects.last {
            page.continueToken = ContinueToken(revision: page.revision, start: last.key + "\0").text
            page.remaining = remaining
        }
        return page
    }

    /// The first `limit` objects that are selected, and where to go on.
    private static func cut(
        _ objects: [StoredObject], _ selection: Selection, _ revision: Int64, _ limit: Int?
    ) -> Page {
        guard let limit else {
            return Page(objects: selection.isEmpty ? objects : objects.filter(selection.matches), revision: revision)
        }
        var chosen: [StoredObject] = []
        for (index, object) in objects.enumerated() where selection.matches(object) {
            chosen.append(object)
            guard chosen.count == limit, index + 1 < objects.count else { continue }
            return Page(
                objects: chosen, revision: revision,
                continueToken: ContinueToken(revision: revision, start: object.key + "\0").text,
                remaining: selection.isEmpty ? objects.count - index - 1 : nil)
        }
        return Page(objects: chosen, revision: revision)
    }

    private func continued(
        _ context: RequestContext, _ selection: Selection, _ text: String, _ limit: Int?
    ) async throws -> Page {
        let key = storageKey(context.type)
        guard let token = ContinueToken(text), token.start.hasPrefix(key.prefix(namespace: context.namespace)) else {
            throw StatusError.badRequest("continue key is not valid: it is not one that this server gave out")
        }
        guard let revision = token.revision else {
            // A token of a list whose moment has been forgotten goes on with what there is now.
            return present(context, selection, from: token.start, limit, at: nil)
        }
        // What has been forgotten is told even where nothing has changed since: clients rely on a token's end.
        guard await storage.compactedRevision <= revision else { throw Self.expired(token.start) }
        if mirror.lastChange(key) <= revision {
            let page = present(context, selection, from: token.start, limit, at: revision)
            // Nothing of this resource has changed until now: the mirror showed that moment.
            if mirror.lastChange(key) <= revision { return page }
        }
        return try await snapshot(context, selection, at: revision, from: token.start, limit)
    }

    /// What the store held at a revision.
    private func snapshot(
        _ context: RequestContext, _ selection: Selection, at revision: Int64, from start: String?, _ limit: Int?
    ) async throws -> Page {
        let key = storageKey(context.type)
        let prefix = key.prefix(namespace: context.namespace)
        var objects: [StoredObject] = []
        var selected = 0
        var next = start
        while true {
            let result = try await stored(prefix, from: next, limit: limit.map { $0 + 1 }, at: revision, start)
            for entry in result.keyValues {
                let object = StoredObject(
                    key: entry.key, resource: key, revision: entry.modRevision, value: entry.value)
                try object.verify()
                objects.append(object)
                if selection.matches(object) { selected += 1 }
            }
            guard result.hasMore, let last = result.keyValues.last else { break }
            if let limit, selected > limit { break }
            next = last.key + "\0"
        }
        var page = Self.cut(objects, selection, revision, limit)
        if page.continueToken != nil { page.remaining = nil }
        return page
    }

    /// A part of the store at a revision; 410 when that has been compacted away.
    private func stored(
        _ prefix: String, from next: String?, limit: Int?, at revision: Int64, _ start: String?
    ) async throws -> RangeResult {
        do {
            return try await storage.range(prefix: prefix, from: next, limit: limit, at: revision)
        } catch {
            guard case .compacted = error else { throw error }
            throw Self.expired(start)
        }
    }

    /// 410, with a token that goes on from `start` with what there is then.
    private static func expired(_ start: String?) -> StatusError {
        guard let start else { return .expired("The resourceVersion for the provided list is too old.") }
        return .expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
                + "list without the continue parameter, or use the continue token in this response to retrieve "
                + "the remainder of the results. Continuing with the provided token results in an inconsistent "
                + "list - objects that were created, modified, or deleted between the time the first chunk was "
                + "returned and now may show up in the list.",
            continue: ContinueToken(revision: nil, start: start).text)
    }
}

/// Where a list goes on: opaque to clients.
package struct ContinueToken: Sendable, Equatable {
    /// The revision that the whole list shows; nil after that was compacted.
    var revision: Int64?
    var start: String

    init(revision: Int64?, start: String) {
        self.revision = revision
        self.start = start
    }

    /// Nil for what this server never gave out.
    package init?(_ text: String) {
        guard let bytes = Base64.bytes(text), let json = try? JSON(parsing: bytes),
            json["v"].string == "meta.k8s.io/v1", let version = json["rv"].int, let start = json["start"].string
        else { return nil }
        revision = version < 0 ? nil : Int64(version)
        self.start = start
    }

    package var text: String {
        let json: JSON = ["v": "meta.k8s.io/v1", "rv": .int(revision ?? -1), "start": JSON(start)]
        return Base64.text(json.serialized(), url: true)
    }
}
