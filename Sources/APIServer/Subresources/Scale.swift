// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    private static let scaleKind = GroupVersionKind("autoscaling", "v1", "Scale")

    /// GET, PUT and PATCH of `scale`: the replicas of whatever has them.
    func scale(_ context: RequestContext) async throws -> Reply {
        let encoding = try context.plainEncoding()
        switch context.info.verb {
        case "get": return Reply(Self.scale(of: try encodedObject(context), context.type).json, encoding)
        case "update":
            var sent = try await BodyDecoding.requiredObject(context.request).object
            try requireKind(&sent, Self.scaleKind)
            try fitToPath(&sent, context)
            let scale = sent
            return try await setScale(context, encoding) { _ in scale }
        case "patch" where BodyDecoding.mediaType(context.request) == AppliedConfiguration.mediaType:
            return try await applyScale(context, encoding)
        case "patch":
            let patch = try await ReceivedPatch(context.request, context.type)
            return try await setScale(context, encoding) { current in
                switch patch.kind {
                case .json, .merge: return try patch.apply(to: current, context.type, self.registry)
                case .strategic:
                    var merge = patch
                    merge.kind = .merge
                    return try merge.apply(to: current, context.type, self.registry)
                }
            }
        default: throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
    }

    private func encodedObject(_ context: RequestContext) throws(StatusError) -> KubeObject {
        VersionConversion.object(try current(context), as: context.type)
    }

    private func setScale(
        _ context: RequestContext, _ encoding: OutputEncoding, _ change: (KubeObject) async throws -> KubeObject
    ) async throws -> Reply {
        try await setScale(context, encoding) { old in (try await change(Self.scale(of: old, context.type)), nil) }
    }

    /// PATCH with an applied Scale. Owners of the object's replicas are owners of the Scale's.
    private func applyScale(_ context: RequestContext, _ encoding: OutputEncoding) async throws -> Reply {
        let configuration = try await AppliedConfiguration(context, as: Self.scaleKind) { body in
            var sent = body.object
            try requireKind(&sent, Self.scaleKind)
            let decoded = registry.decode(sent, asKind: Self.scaleKind)
            if let problem = decoded.typeError {
                throw StatusError.badRequest(
                    "Scale in version \"v1\" cannot be handled as a Scale: \(problem)")
            }
            return decoded.object
        }
        var wish = configuration.object
        try fitToPath(&wish, context)
        let wanted = wish
        let rules = ServerSideApply(viewOf: Self.scaleKind, registry: registry)
        let owners = ScaleOwners(context.type, registry)
        let writer = ManagedFields.Writer(
            manager: configuration.writer.manager, operation: .apply, apiVersion: Self.scaleKind.apiVersion,
            subresource: context.info.subresource)
        return try await setScale(context, encoding) { old in
            let managed = ManagedFields(old.metadata["managedFields"])
            var current = Self.scale(of: old, context.type)
            let view = owners.ofScale(managed)
            current.metadata["managedFields"] = view.isEmpty ? nil : view.json
            let result = try Self.applied(wanted, to: current, writer, context, rules)
            return (result.object, owners.ofParent(managed, result.managed))
        }
    }

    /// `change` is given the object, and answers with its Scale, and with who owns what where it knows.
    private func setScale(
        _ context: RequestContext, _ encoding: OutputEncoding,
        _ change: (KubeObject) async throws -> (scale: KubeObject, managed: ManagedFields?)
    ) async throws -> Reply {
        let written = try await modify(
            context.type, context.namespace, context.name, dryRun: context.isDryRun
        ) { old in
            let (scale, managed) = try await change(old)
            if !scale.resourceVersion.isEmpty, scale.resourceVersion != old.resourceVersion {
                throw StatusError.staleVersion(context.resource, name: old.name)
            }
            if !scale.uid.isEmpty, scale.uid != old.uid {
                throw StatusError.conflict(
                    context.resource, name: old.name,
                    "Precondition failed: UID in precondition: \(scale.uid), UID in object meta: \(old.uid)")
            }
            let replicas = scale["spec"]["replicas"].int ?? 0
            guard replicas >= 0 else {
                throw StatusError.invalid(
                    ("autoscaling", "Scale"), name: old.name,
                    [.invalid("spec.replicas", JSON(replicas), "must be greater than or equal to 0")])
            }
            var object = old
            object.json.set(JSON(replicas), at: ScaleOwners.replicas(context.type)[...])
            return try await changed(object, from: old, context, managed: managed)
        }
        return Reply(
            Self.scale(of: VersionConversion.object(written.stored, as: context.type), context.type).json, encoding)
    }

    /// The view of an object as `autoscaling/v1, Scale`.
    static func scale(of object: KubeObject, _ type: ResourceType) -> KubeObject {
        var metadata: JSON = [:]
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[field] = object.metadata[field]
        }
        if let paths = type.custom?.scale {
            func value(_ path: [String]) -> JSON? { path.reduce(Optional(object.json)) { $0[$1] } }
            var status: JSON = ["replicas": JSON(value(paths.statusReplicas).int ?? 0)]
            if !paths.labelSelector.isEmpty, let selector = value(paths.labelSelector).string, !selector.isEmpty {
                status["selector"] = JSON(selector)
            }
            return KubeObject([
                "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
                "spec": ["replicas": JSON(value(paths.specReplicas).int ?? 0)], "status": status,
            ])
        }
        var status: JSON = ["replicas": JSON(object["status"]["replicas"].int ?? 0)]
        if let selector = object.labelSelector, !selector.isEmpty {
            status["selector"] = JSON(selector.description)
        }
        return KubeObject([
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": ["replicas": JSON(object["spec"]["replicas"].int ?? 0)], "status": status,
        ])
    }
}

extension JSON {
    /// Sets what stands at the end of a path of member names, and makes what is missing on the way.
    fileprivate mutating func set(_ value: JSON, at path: ArraySlice<String>) {
        guard let step = path.first else { return self = value }
        var member = self[step] ?? .object([:])
        if member.object == nil { member = .object([:]) }
        member.set(value, at: path.dropFirst())
        self[step] = member
    }
}
