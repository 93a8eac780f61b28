// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a client asks of a deletion, in the body or the query.
struct DeleteOptions: Sendable {
    enum Propagation: String, Sendable { case orphan = "Orphan", background = "Background", foreground = "Foreground" }

    var gracePeriodSeconds: Int?
    var propagation: Propagation?
    var uid: String?
    var resourceVersion: String?
    var isDryRun = false

    init() {}

    init(_ request: IncomingRequest) async throws {
        if let body = try await BodyDecoding.object(request) {
            let decoded = ResourceRegistry.shared.decode(body.object, asKind: Self.kind)
            if let problem = decoded.typeError { throw StatusError.badRequest(problem) }
            try self.init(decoded.object.json)
            return
        }
        // Whatever the body could say may stand in the query where there is none.
        var options: JSON = .object([:])
        options["gracePeriodSeconds"] = try request.number("gracePeriodSeconds").map { JSON($0) }
        options["propagationPolicy"] = request.query("propagationPolicy").map { JSON($0) }
        if request.query("orphanDependents") != nil {
            options["orphanDependents"] = JSON(request.flag("orphanDependents"))
        }
        let dryRun = request.queryValues("dryRun")
        if !dryRun.isEmpty { options["dryRun"] = JSON(dryRun) }
        try self.init(options)
    }

    private static let kind = GroupVersionKind("meta.k8s.io", "v1", "DeleteOptions")

    init(_ options: JSON) throws(StatusError) {
        // What is negative ends a second later, as upstream has it.
        gracePeriodSeconds = options["gracePeriodSeconds"].int.map { $0 < 0 ? 1 : $0 }
        var errors: [FieldError] = []
        if let text = options["propagationPolicy"].string, !text.isEmpty {
            propagation = Propagation(rawValue: text)
            if propagation == nil {
                errors.append(.notSupported("propagationPolicy", JSON(text), ["Foreground", "Background", "Orphan"]))
            } else if options["orphanDependents"].bool != nil {
                errors.append(
                    .invalid(
                        "propagationPolicy", JSON(text), "orphanDependents and deletionPropagation cannot be both set"))
            }
        } else if let orphan = options["orphanDependents"].bool {
            propagation = orphan ? .orphan : .background
        }
        let dryRun = options["dryRun"].array ?? []
        if dryRun.contains(where: { $0 != "All" }) { errors.append(.notSupported("dryRun", .array(dryRun), ["All"])) }
        if !errors.isEmpty { throw .invalid(("meta.k8s.io", "DeleteOptions"), name: "", errors) }
        uid = options["preconditions"]["uid"].string
        resourceVersion = options["preconditions"]["resourceVersion"].string
        isDryRun = !dryRun.isEmpty
    }
}

extension APIServer {
    /// DELETE of an object.
    func delete(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let options = try await DeleteOptions(context.request)
        let written = try await delete(context.type, context.namespace, context.name, options, context.user)
        if written.wasDeleted, !context.type.description.strategy.answersWithDeleted {
            let object = written.stored.object()
            return encoding.answer(StatusError.success(context.resource, name: object.name, uid: object.uid))
        }
        return encoding.reply(written.stored)
    }

    /// DELETE of a collection: of each object that is selected.
    func deleteCollection(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        let options = try await DeleteOptions(context.request)
        let page = try await page(context)
        for object in page.objects {
            do {
                _ = try await delete(context.type, object.namespace, object.name, options, context.user)
            } catch let error as StatusError where error.reason == "NotFound" {
                continue
            }
        }
        return encoding.list(
            page.objects, revision: page.revision, continueToken: page.continueToken, remaining: page.remaining)
    }

    /// Marks an object as being deleted or, when nothing holds it, deletes it.
    func delete(
        _ type: ResourceType, _ namespace: String?, _ name: String, _ options: DeleteOptions, _ user: UserInfo
    ) async throws -> Written {
        // Whoever is getting an address from a range gets it before the range is on its way out, or not from it.
        if type.storage == .serviceCIDRs {
            return try await exclusively(type) { try await deleted(type, namespace, name, options, user) }
        }
        return try await deleted(type, namespace, name, options, user)
    }

    private func deleted(
        _ type: ResourceType, _ namespace: String?, _ name: String, _ options: DeleteOptions, _ user: UserInfo
    ) async throws -> Written {
        try await modify(type, namespace, name, dryRun: options.isDryRun) { old in
            try checkPreconditions(old, options, type)
            try requireDeletable(name, type)
            var review = AdmissionReview(
                operation: .delete, type: type, subresource: "", object: old, old: old, user: user,
                dryRun: options.isDryRun)
            try await admission.admit(&review)
            return Self.deletion(of: old, type, options, now: .now)
        }
    }

    private func checkPreconditions(
        _ object: KubeObject, _ options: DeleteOptions, _ type: ResourceType
    ) throws(StatusError) {
        if let uid = options.uid, uid != object.uid {
            throw .conflict(
                type.resource, name: object.name,
                "the UID in the precondition (\(uid)) does not match the UID in record (\(object.uid)). The object "
                    + "might have been deleted and then recreated")
        }
        if let version = options.resourceVersion, version != object.resourceVersion {
            throw .conflict(
                type.resource, name: object.name,
                "the ResourceVersion in the precondition (\(version)) does not match the ResourceVersion in record "
                    + "(\(object.resourceVersion)). The object might have been modified")
        }
    }

    /// What a deletion makes of an object.
    static func deletion(
        of old: KubeObject, _ type: ResourceType, _ options: DeleteOptions, now: Timestamp
    ) -> Change {
        var object = old
        var grace = gracePeriod(of: old, type, options)
        if let started = old.metadata["deletionGracePeriodSeconds"].int, old.isBeingDeleted {
            // A deletion that is under way can only be made quicker.
            grace = options.gracePeriodSeconds == nil ? started : min(started, grace)
        }
        setFinalizers(&object, type, options)
        let namespaceFinalizers = object["spec"]["finalizers"].array?.isEmpty ?? true
        let isHeld =
            grace > 0 || !object.finalizers.isEmpty || (type.storage == .namespaces && !namespaceFinalizers)
        guard isHeld else {
            if !object.isBeingDeleted {
                object.metadata["deletionTimestamp"] = JSON(now.description)
                object.metadata["deletionGracePeriodSeconds"] = 0
            }
            return .delete(object)
        }
        let started = old.metadata["deletionGracePeriodSeconds"].int
        if !old.isBeingDeleted {
            object.metadata["deletionTimestamp"] = JSON(now.adding(seconds: Double(grace)).description)
            object.metadata["deletionGracePeriodSeconds"] = JSON(grace)
            if old.generation > 0 { object.metadata["generation"] = JSON(old.generation + 1) }
        } else if let started, started != grace, let end = old.deletionTimestamp {
            object.metadata["deletionTimestamp"] = JSON(end.adding(seconds: Double(grace - started)).description)
            object.metadata["deletionGracePeriodSeconds"] = JSON(grace)
        }
        if type.storage == .namespaces { object["status"]["phase"] = "Terminating" }
        return object == old ? .keep : .write(object)
    }

    /// How long whoever runs the object may take to end it.
    private static func gracePeriod(of object: KubeObject, _ type: ResourceType, _ options: DeleteOptions) -> Int {
        guard KindDescription.of(type).strategy.deletesGracefully else { return 0 }
        if object["spec"]["nodeName"].string?.isEmpty ?? true { return 0 }
        if ["Succeeded", "Failed"].contains(object["status"]["phase"].string) { return 0 }
        let seconds = options.gracePeriodSeconds ?? object["spec"]["terminationGracePeriodSeconds"].int ?? 30
        // A deadline must stay a date.
        return min(seconds < 0 ? 1 : seconds, maximumGracePeriod)
    }

    /// A hundred years, in seconds.
    private static let maximumGracePeriod = 100 * 366 * 86400

    private static let orphanFinalizer = "orphan"
    private static let foregroundFinalizer = "foregroundDeletion"

    /// What is to happen to dependents is written on the object, for the garbage collector.
    private static func setFinalizers(_ object: inout KubeObject, _ type: ResourceType, _ options: DeleteOptions) {
        var finalizers = object.finalizers
        let policy = options.propagation ?? defaultPropagation(object, type)
        if let policy {
            finalizers.removeAll { $0 == orphanFinalizer || $0 == foregroundFinalizer }
            if policy == .orphan { finalizers.append(orphanFinalizer) }
            if policy == .foreground { finalizers.append(foregroundFinalizer) }
        }
        if finalizers != object.finalizers {
            object.metadata["finalizers"] = finalizers.isEmpty ? Optional<JSON>.none : JSON(finalizers)
        }
    }

    private static func defaultPropagation(_ object: KubeObject, _ type: ResourceType) -> DeleteOptions.Propagation? {
        let finalizers = object.finalizers
        if finalizers.contains(orphanFinalizer) || finalizers.contains(foregroundFinalizer) { return nil }
        // Only these two leave their dependents when nothing is said.
        let orphaning = [
            GroupVersionResource("batch", "v1", "jobs"), GroupVersionResource("", "v1", "replicationcontrollers"),
        ]
        return orphaning.contains(type.storage) ? .orphan : .background
    }
}
