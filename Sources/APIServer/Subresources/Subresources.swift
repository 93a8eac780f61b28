// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// A path below an object.
    func answerSubresource(_ context: RequestContext) async throws -> Reply {
        let name = context.info.subresource
        guard context.type.subresource(name) != nil else { return .pathNotFound }
        let verb = context.info.verb
        switch (context.type.storage, name) {
        case (_, "status"), (_, "approval"), (.pods, "ephemeralcontainers"), (.pods, "resize"):
            return try await answerPart(context)
        case (_, "scale"): return try await scale(context)
        case (.pods, "binding") where verb == "create": return try await bind(context)
        case (.pods, "eviction") where verb == "create": return try await evict(context)
        case (.serviceAccounts, "token") where verb == "create": return try await createToken(context)
        case (.namespaces, "finalize") where verb == "update": return try await finalize(context)
        case (.pods, "log") where verb == "get": return try await log(context)
        case (.pods, "exec"), (.pods, "attach"), (.pods, "portforward"): return try await stream(context)
        case (_, "proxy"): return try await proxy(context)
        default: throw StatusError.methodNotAllowed(context.resource, verb: verb)
        }
    }

    /// A part of the object that is read and written as the whole object.
    private func answerPart(_ context: RequestContext) async throws -> Reply {
        switch context.info.verb {
        case "get": return try await get(context)
        case "update": return try await update(context)
        case "patch": return try await patch(context)
        default: throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
    }

    /// PUT of a namespace's `finalize`: whoever emptied it takes its finalizer away.
    private func finalize(_ context: RequestContext) async throws -> Reply {
        let encoding = try ObjectEncoding(context)
        var sent = try accept(try await BodyDecoding.requiredObject(context.request), context)
        try fitToPath(&sent, context)
        let finalizers = sent["spec"]["finalizers"] ?? .array([])
        let written = try await modify(context.type, nil, context.name, dryRun: context.isDryRun) { old in
            try checkVersion(sent, old, context)
            var object = old
            object["spec"]["finalizers"] = finalizers
            if object == old { return .keep }
            recordOwners(&object, sent, old, context)
            return Self.isFinished(object, context.type) ? .delete(object) : .write(object)
        }
        return encoding.reply(written.stored)
    }

    /// POST of a service account's `token`.
    private func createToken(_ context: RequestContext) async throws -> Reply {
        let encoding = try context.plainEncoding()
        var request = try await BodyDecoding.object(context.request)?.object ?? KubeObject([:])
        try requireKind(&request, GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"))
        let account = try current(context).object()
        try admission.nodes.checkToken(account, request["spec"]["boundObjectRef"], context.user)
        let seconds = request["spec"]["expirationSeconds"].int ?? ServiceAccountTokens.defaultSeconds
        guard seconds >= ServiceAccountTokens.minimumSeconds else {
            throw StatusError.invalid(
                ("authentication.k8s.io", "TokenRequest"), name: "",
                [
                    .invalid(
                        "spec.expirationSeconds", JSON(seconds), "may not specify a duration less than 10 minutes")
                ])
        }
        guard seconds <= ServiceAccountTokens.maximumSeconds else {
            throw StatusError.invalid(
                ("authentication.k8s.io", "TokenRequest"), name: "",
                [
                    .invalid(
                        "spec.expirationSeconds", JSON(seconds), "may not specify a duration larger than 2^32 seconds")
                ])
        }
        let audiences = request["spec"]["audiences"].array?.compactMap(\.string) ?? []
        let issued = try tokens.issue(
            for: account, audiences: audiences, seconds: seconds,
            binding: try tokenBinding(request["spec"]["boundObjectRef"], account), now: .now)
        request["metadata"] = [
            "name": JSON(account.name), "namespace": JSON(account.namespace ?? ""),
            "creationTimestamp": JSON(Timestamp.now.description),
        ]
        request["spec"]["audiences"] = JSON(audiences.isEmpty ? [tokens.issuer] : audiences)
        request["spec"]["expirationSeconds"] = JSON(seconds)
        if request["spec"]["boundObjectRef"] == nil { request["spec"]["boundObjectRef"] = .null }
        request["status"] = [
            "token": JSON(issued.token), "expirationTimestamp": JSON(issued.expiration.description),
        ]
        return Reply(request.json, encoding, status: 201)
    }

    /// What a token is to be bound to: it must exist, and a pod must run as the account.
    private func tokenBinding(
        _ reference: JSON?, _ account: KubeObject
    ) throws(StatusError) -> ServiceAccountTokens.Binding? {
        guard let kind = reference["kind"].string, let name = reference["name"].string else { return nil }
        let resource: GroupVersionResource =
            switch kind {
            case "Pod": .pods
            case "Node": .nodes
            case "Secret": .secrets
            default:
                throw .badRequest(
                    "cannot bind token to object of type \(reference["apiVersion"].string ?? ""), Kind=\(kind)")
            }
        let namespace = kind == "Node" ? nil : account.namespace
        guard let bound = mirror.object(StorageKey(resource), namespace, name)?.object() else {
            throw .notFound(resource, name: name)
        }
        if let uid = reference["uid"].string, uid != bound.uid {
            throw .conflict(
                resource, name: name,
                "the UID in the bound object reference (\(uid)) does not match the UID in record. The object might "
                    + "have been deleted and then recreated")
        }
        var binding = ServiceAccountTokens.Binding(kind: kind, name: name, uid: bound.uid)
        if kind == "Pod" {
            guard bound["spec"]["serviceAccountName"].string == account.name else {
                throw .badRequest(
                    "cannot bind token for serviceaccount \"\(account.name)\" to pod running with different serviceaccount name."
                )
            }
            if let node = bound["spec"]["nodeName"].string,
                let object = mirror.object(StorageKey(.nodes), nil, node)?.object()
            {
                binding.node = (node, object.uid)
            }
        }
        return binding
    }
}
