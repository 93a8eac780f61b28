// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// PUT of an object.
    func update(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let body = try await BodyDecoding.requiredObject(context.request)
        var object = try accept(body, context)
        try fitToPath(&object, context)
        let sent = object
        let written = try await exclusively(context.type) {
            try await modify(
                context.type, context.namespace, context.name, dryRun: context.isDryRun
            ) { old in
                try checkVersion(sent, old, context)
                return try await changed(sent, from: old, context)
            }
        }
        return encoding.reply(written.stored)
    }

    /// The version that the client read must still be the stored one, if it names one.
    func checkVersion(_ object: KubeObject, _ old: KubeObject, _ context: RequestContext) throws(StatusError) {
        if !object.uid.isEmpty, object.uid != old.uid {
            throw .conflict(
                context.resource, name: old.name,
                "Precondition failed: UID in precondition: \(object.uid), UID in object meta: \(old.uid)")
        }
        if object.resourceVersion.isEmpty {
            if context.info.verb == "update",
                !KindDescription.of(context.type).strategy.allowsUnconditionalUpdate
            {
                throw .invalid(
                    context.type, name: old.name,
                    [.invalid("metadata.resourceVersion", "", "must be specified for an update")])
            }
        } else if object.resourceVersion != old.resourceVersion {
            throw .staleVersion(context.resource, name: old.name)
        }
    }

    /// What the stored object becomes when a client sends `sent` to the object itself or to its `status`.
    func changed(_ sent: KubeObject, from old: KubeObject, _ context: RequestContext) async throws -> Change {
        let type = context.type
        let isStatus = context.info.subresource == "status"
        var object = isStatus ? Self.withStatus(of: sent, old, type) : sent
        Self.keepSystemMetadata(&object, old)
        if !isStatus, type.subresource("status") != nil { object["status"] = old["status"] }
        object = type.defaulted(object, registry: registry)
        if !isStatus { Strategies.prepareForUpdate(&object, old: old, type) }
        var review = AdmissionReview(
            operation: .update, type: type, subresource: context.info.subresource, object: object, old: old,
            user: context.user, dryRun: context.isDryRun)
        try await admission.admit(&review)
        object = review.object
        if !isStatus { try await allocate(&object, old: old, type) }
        if Generations.isCounted(type), Generations.specChanged(object, old) {
            object.metadata["generation"] = JSON(old.generation + 1)
        }
        object.metadata["resourceVersion"] = old.metadata["resourceVersion"]
        if object == old { return .keep }
        try checkFinalizers(object, old, type)
        try await validate(object, old: old, type)
        try checkEscalation(object, type, context.user)
        if Self.isFinished(object, type) { return .delete(object) }
        return .write(object)
    }

    /// A write to `status` changes the status and, as Kubernetes' own kinds allow, labels and annotations.
    private static func withStatus(of sent: KubeObject, _ old: KubeObject, _ type: ResourceType) -> KubeObject {
        var object = old
        object["status"] = sent["status"]
        if !type.isCustom {
            object.metadata["labels"] = sent.metadata["labels"]
            object.metadata["annotations"] = sent.metadata["annotations"]
        }
        return object
    }

    /// What only the server writes stays as it is.
    private static func keepSystemMetadata(_ object: inout KubeObject, _ old: KubeObject) {
        var metadata = object.metadata ?? .object([:])
        for field in [
            "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generation", "generateName",
        ] { metadata[field] = old.metadata[field] }
        metadata["managedFields"] = nil
        metadata["selfLink"] = nil
        for field in ["labels", "annotations"] where metadata[field]?.isNull == true { metadata[field] = nil }
        for field in ["finalizers", "ownerReferences"]
        where metadata[field]?.isNull == true || metadata[field].array?.isEmpty == true { metadata[field] = nil }
        // Members in the stored order, so that an object that says the same has the same bytes.
        var ordered: [JSONObject.Member] = []
        for (key, _) in old.metadata.object ?? [:] { if let value = metadata[key] { ordered.append((key, value)) } }
        for (key, value) in metadata.object ?? [:] where old.metadata[key] == nil { ordered.append((key, value)) }
        object.metadata = .object(JSONObject(ordered))
    }

    private func checkFinalizers(_ object: KubeObject, _ old: KubeObject, _ type: ResourceType) throws(StatusError) {
        guard old.isBeingDeleted else { return }
        let added = object.finalizers.filter { !old.finalizers.contains($0) }
        if !added.isEmpty {
            let list = added.map { "\"\($0)\"" }.joined(separator: ", ")
            throw .invalid(
                type, name: object.name,
                [
                    .forbidden(
                        "metadata.finalizers",
                        "no new finalizers can be added if the object is being deleted, found new finalizers "
                            + "[]string{\(list)}")
                ])
        }
    }

    /// An object that waits to be deleted goes when nothing holds it any more.
    static func isFinished(_ object: KubeObject, _ type: ResourceType) -> Bool {
        guard object.isBeingDeleted, object.finalizers.isEmpty else { return false }
        if (object.metadata["deletionGracePeriodSeconds"].int ?? 0) > 0 { return false }
        if type.storage == .namespaces { return object["spec"]["finalizers"].array?.isEmpty ?? true }
        return true
    }
}

/// When `metadata.generation` rises.
enum Generations {
    static func isCounted(_ type: ResourceType) -> Bool { KindDescription.of(type).strategy.countsGenerations }

    static func specChanged(_ object: KubeObject, _ old: KubeObject) -> Bool {
        func rest(_ object: KubeObject) -> JSONObject {
            var members = object.json.object ?? [:]
            for field in ["metadata", "status", "apiVersion", "kind"] { members.removeValue(forKey: field) }
            return members
        }
        return rest(object) != rest(old)
    }
}
