// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    private static let scaleKind = GroupVersionKind("autoscaling", "v1", "Scale")

    /// GET, PUT and PATCH of `scale`: the replicas of whatever has them.
    func scale(_ context: RequestContext) async throws -> Reply {
        switch context.info.verb {
        case "get": return .json(Self.scale(of: try encodedObject(context)).json)
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
        context.type.converted(try current(context).object())
    }

    private func setScale(
        _ context: RequestContext, _ change: (KubeObject) async throws -> KubeObject
    ) async throws -> Reply {
        let written = try await modify(
            context.type, context.namespace, context.name, dryRun: context.isDryRun
        ) { old in
            let scale = try await change(Self.scale(of: old))
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
            object["spec"]["replicas"] = JSON(replicas)
            return try await changed(object, from: old, context)
        }
        return .json(Self.scale(of: context.type.converted(written.stored.object())).json)
    }

    /// The view of an object as `autoscaling/v1, Scale`.
    static func scale(of object: KubeObject) -> KubeObject {
        var metadata: JSON = [:]
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[field] = object.metadata[field]
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
