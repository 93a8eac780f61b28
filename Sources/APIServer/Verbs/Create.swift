// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// POST of a collection.
    func create(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        if context.type.isNamespaced, context.namespace == nil {
            throw StatusError.methodNotAllowed(context.resource, verb: "create")
        }
        try requireOpen(context.type)
        let body = try await BodyDecoding.requiredObject(context)
        var object = try accept(body, context)
        try fitToPath(&object, context)
        if !object.resourceVersion.isEmpty {
            throw StatusError.badRequest("resourceVersion should not be set on objects to be created")
        }
        let stored = try await create(
            object, context.type, context.user, dryRun: context.isDryRun, by: context.writer(.update),
            warnings: context.warnings)
        warn(of: stored.object(), old: nil, context)
        return encoding.reply(stored, status: 201)
    }

    /// Takes an object through defaults, strategy, admission and validation into the store.
    ///
    /// - Parameters:
    ///   - writer: who owns its fields from now on; nil leaves them without owners.
    ///   - fields: those that the writer owns; nil for all.
    func create(
        _ object: KubeObject, _ type: ResourceType, _ user: UserInfo, dryRun: Bool,
        by writer: ManagedFields.Writer?, fields: FieldSet? = nil, warnings: Warnings? = nil
    ) async throws -> StoredObject {
        try await exclusively(type, creating: true) {
            let generates = object.name.isEmpty && object.metadata["generateName"].string?.isEmpty == false
            // A generated name that is taken is drawn again.
            for attempt in 0..<8 {
                do {
                    let (new, charge) = try await prepareNew(
                        object, type, user, dryRun: dryRun, warnings,
                        owners: { new in writer.flatMap { self.owners(of: new, $0, fields, type) } })
                    return try await admission.quotas.settling(charge) {
                        try await insertWithAddresses(new, type, dryRun: dryRun)
                    }
                } catch let error as StatusError where generates && error.reason == "AlreadyExists" && attempt < 7 {
                    continue
                }
            }
            throw StatusError.alreadyExists(type.resource, name: object.metadata["generateName"].string ?? "")
        }
    }

    /// Writes a new object; a Service together with the objects of its addresses.
    private func insertWithAddresses(
        _ object: KubeObject, _ type: ResourceType, dryRun: Bool
    ) async throws -> StoredObject {
        guard type.storage == .services, !dryRun else { return try await insert(object, type, dryRun: dryRun) }
        if mirror.object(storageKey(type), object.namespace, object.name) != nil {
            throw StatusError.alreadyExists(type.resource, name: object.name)
        }
        let reserved = try await reserveAddresses(of: object, old: nil, type)
        do {
            return try await insert(object, type, dryRun: false)
        } catch {
            await releaseAddresses(reserved, of: object, type)
            throw error
        }
    }

    private func prepareNew(
        _ object: KubeObject, _ type: ResourceType, _ user: UserInfo, dryRun: Bool, _ warnings: Warnings?,
        owners: (KubeObject) -> JSON?
    ) async throws -> (object: KubeObject, charge: QuotaCharge?) {
        var object = object
        var metadata = object.metadata ?? .object([:])
        for field in [
            "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields",
        ] {
            metadata[field] = nil
        }
        if object.name.isEmpty, let base = metadata["generateName"].string, !base.isEmpty {
            metadata["name"] = JSON(UID.name(from: base))
        }
        metadata["uid"] = JSON(UID.make())
        metadata["creationTimestamp"] = JSON(Timestamp.now.description)
        metadata["generation"] = nil
        object.metadata = metadata
        if object.name.isEmpty {
            throw StatusError.invalid(
                type, name: "", [.required("metadata.name", "name or generateName is required")])
        }
        object = type.defaulted(object, registry: registry)
        // What admission and the server itself add is nobody's.
        let managedFields = owners(object)
        object = type.preparedForCreate(object, requester: user.json)
        var review = AdmissionReview(
            operation: .create, type: type, subresource: "", object: object, old: nil, user: user, dryRun: dryRun)
        try await admission.admit(&review)
        object = review.object
        try await allocate(&object, old: nil, type)
        define(&object, isNew: true, type)
        try await validate(object, old: nil, type)
        try checkEscalation(object, old: nil, type, user)
        review.object = object
        try await admission.validate(&review)
        for text in review.warnings { warnings?.add(text) }
        object.metadata["managedFields"] = managedFields
        return (object, review.charge)
    }
}
