// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// Kinds that are asked, not stored: reviews and bindings.
    func answerReview(_ context: RequestContext) async throws -> Reply {
        let encoding = try context.plainEncoding()
        guard context.info.verb == "create" else {
            throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
        let body = try await BodyDecoding.object(context.request)
        var review = try accept(body ?? DecodedBody(object: KubeObject([:]), duplicates: []), context)
        switch context.resource.resource {
        case "subjectaccessreviews", "localsubjectaccessreviews":
            if context.type.isNamespaced, review["spec"]["resourceAttributes"]["namespace"].string != context.namespace
            {
                throw StatusError.badRequest("namespace must match the namespace of the path")
            }
            review["status"] = accessStatus(review, Self.subject(review["spec"]))
        case "selfsubjectaccessreviews": review["status"] = accessStatus(review, context.user)
        case "selfsubjectrulesreviews":
            let namespace = review["spec"]["namespace"].string ?? ""
            guard !namespace.isEmpty else { throw StatusError.badRequest("no namespace on request") }
            review["status"] = rulesStatus(context.user, namespace)
        case "selfsubjectreviews": review["status"] = ["userInfo": context.user.json]
        case "tokenreviews": review["status"] = await tokenStatus(review)
        case "bindings":
            try await bind(context, review, pod: review.name)
            return Reply(Self.success, encoding, status: 201)
        default: throw StatusError.methodNotAllowed(context.resource, verb: "create")
        }
        if review["metadata"].isNullOrMissing { review["metadata"] = ["creationTimestamp": .null] }
        return Reply(review.json, encoding, status: 201)
    }

    private static func subject(_ spec: JSON?) -> UserInfo {
        var extra: [String: [String]] = [:]
        for (key, values) in spec["extra"].object ?? [:] { extra[key] = values.array?.compactMap(\.string) }
        return UserInfo(
            spec["user"].string ?? "", uid: spec["uid"].string ?? "",
            groups: spec["groups"].array?.compactMap(\.string) ?? [], extra: extra)
    }

    private func accessStatus(_ review: KubeObject, _ user: UserInfo) -> JSON {
        let access: AccessAttributes
        if let resource = review["spec"]["resourceAttributes"], !resource.isNull {
            access = AccessAttributes(
                verb: resource["verb"].string ?? "", group: resource["group"].string ?? "",
                version: resource["version"].string ?? "", resource: resource["resource"].string ?? "",
                subresource: resource["subresource"].string ?? "", namespace: resource["namespace"].string ?? "",
                name: resource["name"].string ?? "")
        } else {
            let other = review["spec"]["nonResourceAttributes"]
            access = AccessAttributes(verb: other["verb"].string ?? "", path: other["path"].string ?? "")
        }
        let decision = authorizer.decide(user, access)
        var status: JSON = ["allowed": JSON(decision.isAllowed)]
        if !decision.reason.isEmpty { status["reason"] = JSON(decision.reason) }
        return status
    }

    private func rulesStatus(_ user: UserInfo, _ namespace: String) -> JSON {
        let rules = authorizer.rules(user, namespace: namespace)
        return [
            "resourceRules": .array(rules.filter { !$0.resources.isEmpty }.map(\.json)),
            "nonResourceRules": .array(rules.filter { !$0.nonResourceURLs.isEmpty }.map(\.json)),
            "incomplete": false,
        ]
    }

    private func tokenStatus(_ review: KubeObject) async -> JSON {
        let asked = review["spec"]["audiences"].array?.compactMap(\.string) ?? []
        do {
            let known = try await verified(
                review["spec"]["token"].string ?? "", audiences: asked.isEmpty ? [configuration.issuer] : asked)
            return ["authenticated": true, "user": known.user.json, "audiences": JSON(known.audiences)]
        } catch {
            return ["user": [:], "error": JSON("\(error)")]
        }
    }
}

extension JSON? {
    var isNullOrMissing: Bool { self == nil || self == .some(.null) }
}
