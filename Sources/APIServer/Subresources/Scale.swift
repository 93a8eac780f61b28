// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    private static let scaleKind = GroupVersionKind("autoscaling", "v1", "Scale")

    /// GET, PUT and PATCH of `scale`: the replicas of whatever has them.
    func scale(_ context: RequestContext) async throws -> Reply {
        switch context.info.verb {
        case "get": return .json(Self.scale(of: try encodedObject(context), context.type).json)
        case "update":
            var sent = try await BodyDecoding.requiredObject(context.request).object
            try requireKind(&sent, Self.scaleKind)
            try fitToPath(&sent, context)
            let scale = sent
            return try await setScale(context) { _ in scale }
        case "patch":
            let patch = try await ReceivedPatch(context.request, context.type)
            return try await setScale(context) { current in
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
        _ context: RequestContext, _ change: (KubeObject) async throws -> KubeObject
    ) async throws -> Reply {
        let written = try await modify(
            context.type, context.namespace, context.name, dryRun: context.isDryRun
        ) { old in
            let scale = try await change(Self.scale(of: old, context.type))
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
            if let paths = context.type.custom?.scale {
                object.json.set(JSON(replicas), at: paths.specReplicas[...])
            } else {
                object["spec"]["replicas"] = JSON(replicas)
            }
            return try await changed(object, from: old, context)
        }
        return .json(Self.scale(of: VersionConversion.object(written.stored, as: context.type), context.type).json)
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
        let selector: LabelSelector? =
            if object.kind == "ReplicationController" {
                object["spec"]["selector"].object.map { LabelSelector(matchLabels: $0.strings) }
            } else {
                try? LabelSelector(object: object["spec"]["selector"])
            }
        var status: JSON = ["replicas": JSON(object["status"]["replicas"].int ?? 0)]
        if let selector, !selector.isEmpty { status["selector"] = JSON(selector.description) }
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
