// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A patch as a client sent it.
struct ReceivedPatch: Sendable {
    enum Kind: String, Sendable {
        case json = "application/json-patch+json"
        case merge = "application/merge-patch+json"
        case strategic = "application/strategic-merge-patch+json"
    }

    var kind: Kind
    var body: JSON
    /// Paths of keys that stood twice in the patch.
    var duplicates: [String] = []

    init(_ request: IncomingRequest, _ type: ResourceType) async throws {
        let mediaType = BodyDecoding.mediaType(request)
        let supported = type.isCustom ? [Kind.json, .merge] : [.json, .merge, .strategic]
        guard let kind = Kind(rawValue: mediaType), supported.contains(kind) else {
            throw StatusError.unsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                    + supported.map(\.rawValue).joined(separator: ", "))
        }
        self.kind = kind
        let bytes = try await BodyDecoding.bytes(request)
        var duplicates: [String] = []
        body = try BodyDecoding.json(bytes) { if !duplicates.contains($0) { duplicates.append($0) } }
        self.duplicates = duplicates
    }

    /// The patched object. `schemaType` names the lists that merge.
    func apply(to object: KubeObject, _ type: ResourceType, _ registry: ResourceRegistry) throws(StatusError)
        -> KubeObject
    {
        do throws(PatchError) {
            switch kind {
            case .json: return KubeObject(try JSONPatch.apply(body, to: object.json))
            case .merge:
                guard body.object != nil else { throw PatchError(.malformed, "a merge patch must be an object") }
                return KubeObject(MergePatch.apply(body, to: object.json))
            case .strategic:
                guard body.object != nil else { throw PatchError(.malformed, "a strategic patch must be an object") }
                return KubeObject(try StrategicMergePatch.apply(body, to: object.json, type: type, registry: registry))
            }
        } catch {
            throw error.status
        }
    }
}

extension APIServer {
    /// PATCH of an object or of its `status`.
    func patch(_ context: RequestContext) async throws -> Reply {
        if BodyDecoding.mediaType(context.request) == AppliedConfiguration.mediaType { return try await apply(context) }
        let encoding = try ObjectEncoding(context)
        if context.request.query("force") != nil {
            throw StatusError.invalid(
                ("meta.k8s.io", "PatchOptions"), name: "",
                [.forbidden("force", "may not be specified for non-apply patch")])
        }
        let patch = try await ReceivedPatch(context.request, context.type)
        let written = try await exclusively(context.type) {
            try await modify(
                context.type, context.namespace, context.name, dryRun: context.isDryRun
            ) { old in
                let patched = try patched(old, patch, context)
                return try await changed(patched, from: old, context)
            }
        }
        return encoding.reply(written.stored)
    }

    /// The object with the patch applied and checked like one that was sent whole.
    func patched(_ old: KubeObject, _ patch: ReceivedPatch, _ context: RequestContext) throws -> KubeObject {
        var object = try patch.apply(to: old, context.type, registry)
        guard object.json.object != nil else { throw StatusError.badRequest("the patch leaves no object") }
        for field in ["apiVersion", "kind"] {
            guard let value = object[field], value.string == nil, !value.isNull else { continue }
            throw StatusError.badRequest("\(field): cannot read \(value.typeName) as a string")
        }
        object = try accept(DecodedBody(object: object, duplicates: patch.duplicates), context)
        try fitToPath(&object, context)
        // A version inside the patch is a demand; without one the stored one stands here.
        try checkVersion(object, old, context)
        return object
    }
}
