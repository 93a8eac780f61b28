// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a manager applies: the fields that it wants, and no others.
struct AppliedConfiguration: Sendable {
    static let mediaType = "application/apply-patch+yaml"

    let object: KubeObject
    let writer: ManagedFields.Writer

    /// - Parameter kind: what is applied to, for the message when it is not named.
    init(
        _ context: RequestContext, as kind: GroupVersionKind, _ accept: (DecodedBody) throws -> KubeObject
    ) async throws {
        guard context.fieldManager != nil else {
            throw StatusError.invalid(
                ("meta.k8s.io", "PatchOptions"), name: "",
                [.required("fieldManager", "is required for apply patch")])
        }
        let bytes = try await BodyDecoding.bytes(context.request)
        // kubectl sends JSON, in which keys that stand twice can be told.
        let isJSON = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "{")
        let body = try BodyDecoding.decode(bytes, isJSON ? "application/json" : "application/yaml")
        guard !body.object.apiVersion.isEmpty, !body.object.kind.isEmpty else {
            throw StatusError.badRequest(
                "an applied configuration must have apiVersion and kind: \(kind.apiVersion), Kind=\(kind.kind)")
        }
        guard body.object.metadata["managedFields"].array?.isEmpty ?? true else {
            throw StatusError.badRequest("metadata.managedFields must be nil")
        }
        object = KubeObject(Self.withoutNulls(try accept(body).json))
        writer = context.writer(.apply)
    }

    /// Null says nothing about a field: neither its value nor that it is owned.
    private static func withoutNulls(_ json: JSON) -> JSON {
        switch json {
        case .object(let object):
            .object(JSONObject(object.compactMap { $1.isNull ? nil : ($0, withoutNulls($1)) }))
        case .array(let elements): .array(elements.map { withoutNulls($0) })
        default: json
        }
    }
}

/// Server-side apply, and who owns the fields of objects: all who write them, under the name that they give themselves
/// or that of their program.
extension APIServer {
    /// PATCH with an applied configuration: changes the object, or makes it.
    func apply(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let configuration = try await AppliedConfiguration(context, as: context.type.groupVersionKind) {
            try accept($0, context)
        }
        var wish = configuration.object
        try fitToPath(&wish, context)
        let wanted = wish
        let rules = ServerSideApply(context.type, registry: registry)
        var missing: StatusError?
        for _ in 0..<Self.attempts {
            do {
                let written = try await exclusively(context.type) {
                    try await modify(context.type, context.namespace, context.name, dryRun: context.isDryRun) { old in
                        try checkVersion(wanted, old, context)
                        let result = try Self.applied(wanted, to: old, configuration.writer, context, rules)
                        return try await changed(result.object, from: old, context, managed: result.managed)
                    }
                }
                return encoding.reply(written.stored)
            } catch let error as StatusError where error.reason == "NotFound" && context.info.subresource.isEmpty {
                // One that is asked for by its identity is not made anew.
                guard wanted.uid.isEmpty, wanted.resourceVersion.isEmpty else { throw error }
                missing = error
                // Somebody made it meanwhile.
                if mirror.object(storageKey(context.type), context.namespace, context.name) != nil { continue }
            }
            try requireOpen(context.type)
            try authorizer.require(
                context.user,
                AccessAttributes(
                    verb: "create", group: context.info.group, version: context.info.version,
                    resource: context.info.resource, namespace: context.namespace ?? ""))
            do {
                let stored = try await create(
                    wanted, context.type, context.user, dryRun: context.isDryRun, by: configuration.writer,
                    fields: rules.fields(wanted), warnings: context.warnings)
                warn(of: stored.object(), old: nil, context)
                return encoding.reply(stored, status: 201)
            } catch let error as StatusError where error.reason == "AlreadyExists" {
                try await mirror.caughtUp()
            }
        }
        throw missing ?? StatusError.staleVersion(context.resource, name: context.name)
    }

    static func applied(
        _ wish: KubeObject, to old: KubeObject, _ writer: ManagedFields.Writer, _ context: RequestContext,
        _ rules: ServerSideApply
    ) throws(StatusError) -> (object: KubeObject, managed: ManagedFields) {
        do throws(ServerSideApply.Conflict) {
            return try rules.apply(
                wish, to: old, ManagedFields(old.metadata["managedFields"]), writer,
                force: context.request.flag("force"),
                time: Timestamp.now.description)
        } catch {
            let causes = error.owners.map { owner -> JSON in
                [
                    "reason": "FieldManagerConflict", "message": JSON(owner.description), "field": JSON(owner.field),
                ]
            }
            throw StatusError(409, "Conflict", error.message, details: ["causes": .array(causes)])
        }
    }

    /// Who owns what of a new object; of a configuration that is applied only what it states is owned.
    func owners(
        of object: KubeObject, _ writer: ManagedFields.Writer, _ fields: FieldSet?, _ type: ResourceType
    ) -> JSON? {
        let time = Timestamp.now.description
        guard let fields else {
            return ServerSideApply(type, registry: registry).created(object, writer, time: time)
        }
        var managed = ManagedFields()
        managed.set(writer, fields, at: time)
        return managed.isEmpty ? nil : managed.json
    }

    /// Writes down who owns what of an object that replaces `old`. What a client says of owners itself, by sending
    /// another list than it read, holds, but not through a subresource: `[{}]` clears the list. An object whose list
    /// is empty is not followed until somebody applies it.
    func recordOwners(
        _ object: inout KubeObject, _ sent: KubeObject, _ old: KubeObject, _ context: RequestContext,
        _ applied: ManagedFields? = nil
    ) {
        if let applied {
            object.metadata["managedFields"] = applied.isEmpty ? nil : applied.json
            return
        }
        var list = old.metadata["managedFields"]
        let own = sent.metadata["managedFields"]
        if context.info.subresource.isEmpty, own != list, let entries = own.array, !entries.isEmpty {
            let said = ManagedFields(own)
            if !said.isEmpty {
                list = said.json
            } else if entries.allSatisfy({ $0.object?.isEmpty ?? false }) {
                list = nil
            }
        }
        if list != nil, object != old {
            list = ServerSideApply(context.type, registry: registry).updated(
                object, from: old, list, context.writer(.update), time: Timestamp.now.description)
        }
        object.metadata["managedFields"] = list
    }
}
