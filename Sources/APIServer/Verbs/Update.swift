// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// PUT of an object.
    func update(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let body = try await BodyDecoding.requiredObject(context)
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

    /// What the stored object becomes when a client sends `sent` to the object itself or to a part of it.
    /// `managed` is who owns what then, where an applier has worked it out.
    func changed(
        _ sent: KubeObject, from old: KubeObject, _ context: RequestContext, managed: ManagedFields? = nil
    ) async throws -> Change {
        let type = context.type
        let part = context.info.subresource.isEmpty ? nil : context.info.subresource
        var object = PodParts.restricted(sent, old, part, type)
        Self.keepSystemMetadata(&object, old)
        object = type.defaulted(object, registry: registry)
        object = type.preparedForUpdate(object, old: old, subresource: part)
        var review = AdmissionReview(
            operation: .update, type: type, subresource: part ?? "", object: object, old: old, user: context.user,
            dryRun: context.isDryRun)
        try await admission.admit(&review)
        object = review.object
        if part == nil {
            try await allocate(&object, old: old, type)
            define(&object, isNew: false, type)
        }
        object.metadata["resourceVersion"] = old.metadata["resourceVersion"]
        recordOwners(&object, sent, old, context, managed)
        if object == old { return .keep }
        try checkFinalizers(object, old, type)
        try await validate(object, old: old, type, subresource: part)
        warn(of: object, old: old, context)
        try checkEscalation(object, old: old, type, context.user)
        if Self.isFinished(object, type) { return .delete(object) }
        review.object = object
        try await admission.validate(&review)
        for text in review.warnings { context.warnings.add(text) }
        if !context.isDryRun { try await reserveAddresses(of: object, old: old, type) }
        return .write(object, charge: review.charge)
    }

    /// What only the server writes stays as it is.
    private static func keepSystemMetadata(_ object: inout KubeObject, _ old: KubeObject) {
        var metadata = object.metadata ?? .object([:])
        for field in [
            "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generation", "generateName",
        ] { metadata[field] = old.metadata[field] }
        metadata["managedFields"] = old.metadata["managedFields"]
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

/// The parts of a pod that have a path of their own: nothing else can be written there.
enum PodParts {
    static func restricted(
        _ sent: KubeObject, _ old: KubeObject, _ part: String?, _ type: ResourceType
    ) -> KubeObject {
        guard type.storage == .pods, let part else { return sent }
        var object = old
        switch part {
        case "ephemeralcontainers":
            object["spec"]["ephemeralContainers"] = sent["spec"]["ephemeralContainers"]
        case "resize":
            for list in ["containers", "initContainers"] {
                guard var containers = old["spec"][list].array else { continue }
                for index in containers.indices {
                    let name = containers[index]["name"]
                    guard let wanted = sent["spec"][list].array?.first(where: { $0["name"] == name }) else { continue }
                    for field in ["resources", "resizePolicy"] { containers[index][field] = wanted[field] }
                }
                object["spec"][list] = .array(containers)
            }
        default: return sent
        }
        return object
    }
}
