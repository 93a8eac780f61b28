// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import PKI
import Values

/// Issues and checks the tokens of service accounts: JSON Web Tokens bound to what they were issued for.
struct ServiceAccountTokens: Sendable {
    let signer: TokenSigner
    let issuer: String
    let mirror: Mirror
    private let verified = VerifiedTokens()

    static let minimumSeconds = 600
    static let defaultSeconds = 3600
    static let maximumSeconds = 1 << 32

    /// What a token is bound to besides its account.
    struct Binding: Sendable {
        var kind: String
        var name: String
        var uid: String
        /// The node of a bound pod.
        var node: (name: String, uid: String)?
    }

    struct Issued: Sendable {
        var token: String
        var expiration: Timestamp
    }

    func issue(
        for account: KubeObject, audiences: [String], seconds: Int, binding: Binding?, now: Timestamp
    ) throws -> Issued {
        let namespace = account.namespace ?? ""
        var bound: JSON = [
            "namespace": JSON(namespace), "serviceaccount": ["name": JSON(account.name), "uid": JSON(account.uid)],
        ]
        if let binding {
            bound[binding.kind.lowercased()] = ["name": JSON(binding.name), "uid": JSON(binding.uid)]
            if let node = binding.node { bound["node"] = ["name": JSON(node.name), "uid": JSON(node.uid)] }
        }
        let expiration = Timestamp(seconds: now.seconds + Int64(seconds))
        let claims: JSON = [
            "aud": JSON(audiences.isEmpty ? [issuer] : audiences),
            "exp": .int(expiration.seconds), "iat": .int(now.seconds), "nbf": .int(now.seconds),
            "iss": JSON(issuer), "jti": JSON(UID.make()),
            "kubernetes.io": bound, "sub": JSON(UserInfo.serviceAccountName(namespace, account.name)),
        ]
        return Issued(token: try signer.sign(claims), expiration: expiration)
    }

    /// Why a token is not accepted: for the log and for TokenReview, never for the caller of another request.
    struct Rejection: Error, CustomStringConvertible {
        var description: String
        /// The Secret that holds the token: it is used, even though in vain.
        var secret: KubeObject?

        init(_ description: String, secret: KubeObject? = nil) {
            self.description = description
            self.secret = secret
        }
    }

    /// What a token says.
    struct Verified: Sendable {
        var user: UserInfo
        var audiences: [String]
        /// The Secret that holds the token, for those that do not expire.
        var secret: KubeObject?
        /// What the bearer should hear.
        var warning: String?
    }

    /// Who the token says its bearer is. Tokens of accounts, pods, nodes and secrets that are gone are refused.
    func verify(_ token: String, audiences: [String], now: Timestamp) throws(Rejection) -> Verified {
        if let known = verified[token], known.holds(mirror, now) {
            return Verified(user: known.user, audiences: try Self.common(known.audiences, audiences))
        }
        let claims: JSON
        do {
            claims = try signer.verify(token)
        } catch {
            throw Rejection("invalid bearer token: \(error)")
        }
        if claims["iss"].string == Self.secretIssuer {
            var verified = try verifySecret(claims, token)
            verified.audiences = audiences
            return verified
        }
        guard claims["iss"].string == issuer else {
            throw Rejection("invalid bearer token: issuer \"\(claims["iss"].string ?? "")\" is not \"\(issuer)\"")
        }
        let tokenAudiences = claims["aud"].array?.compactMap(\.string) ?? claims["aud"].string.map { [$0] } ?? []
        let common = try Self.common(tokenAudiences, audiences)
        if let expiry = claims["exp"].int, now.seconds >= Int64(expiry) { throw Rejection("token has expired") }
        if let start = claims["nbf"].int, now.seconds + 10 < Int64(start) { throw Rejection("token is not valid yet") }
        let bound = claims["kubernetes.io"]
        guard let namespace = bound["namespace"].string, let name = bound["serviceaccount"]["name"].string else {
            throw Rejection("token names no service account")
        }
        let account = try require(.serviceAccounts, namespace, name, uid: bound["serviceaccount"]["uid"].string)
        var boundTo = [account]
        var extra: [String: [String]] = [:]
        if let id = claims["jti"].string { extra["authentication.kubernetes.io/credential-id"] = ["JTI=\(id)"] }
        for (kind, resource) in Self.bindable {
            guard let boundName = bound[kind]["name"].string else { continue }
            let uid = bound[kind]["uid"].string
            // A node is told, but a pod's token does not end with the node's object.
            if kind != "node" || bound["pod"] == nil {
                boundTo.append(try require(resource, kind == "node" ? nil : namespace, boundName, uid: uid))
            }
            if kind != "secret" {
                extra["authentication.kubernetes.io/\(kind)-name"] = [boundName]
                if let uid { extra["authentication.kubernetes.io/\(kind)-uid"] = [uid] }
            }
        }
        let user = Self.user(account.object(), extra)
        verified[token] = VerifiedTokens.Entry(
            user: user, audiences: tokenAudiences, boundTo: boundTo, notBefore: claims["nbf"].int.map(Int64.init),
            expiry: claims["exp"].int.map(Int64.init))
        return Verified(user: user, audiences: common)
    }

    private static func user(_ account: KubeObject, _ extra: [String: [String]] = [:]) -> UserInfo {
        let namespace = account.namespace ?? ""
        return UserInfo(
            UserInfo.serviceAccountName(namespace, account.name), uid: account.uid,
            groups: [
                UserInfo.Group.serviceAccounts, "\(UserInfo.Group.serviceAccounts):\(namespace)",
                UserInfo.Group.authenticated,
            ], extra: extra)
    }

    /// The `iss` of tokens that stand in Secrets of type `kubernetes.io/service-account-token`.
    static let secretIssuer = "kubernetes/serviceaccount"

    /// Who a token says its bearer is that does not expire: it is good for as long as its Secret holds it. For whom it
    /// is meant it does not say, so that it is meant for everybody who asks.
    private func verifySecret(_ claims: JSON, _ token: String) throws(Rejection) -> Verified {
        func claim(_ name: String) throws(Rejection) -> String {
            guard let text = claims["kubernetes.io/serviceaccount/\(name)"].string, !text.isEmpty else {
                throw Rejection("token lacks the claim kubernetes.io/serviceaccount/\(name)")
            }
            return text
        }
        let namespace = try claim("namespace")
        let name = try claim("service-account.name")
        guard claims["sub"].string == UserInfo.serviceAccountName(namespace, name) else {
            throw Rejection("token's subject is not the service account that it names")
        }
        let secret = try require(.secrets, namespace, try claim("secret.name"), uid: nil).object()
        let held = Base64.bytes(secret["data"]["token"].string ?? "") ?? []
        guard !secret.isBeingDeleted, held == Array(token.utf8) else {
            throw Rejection("token is not the one that secret \"\(secret.name)\" holds")
        }
        let uid = try claim("service-account.uid")
        let account = try require(.serviceAccounts, namespace, name, uid: uid).object()
        guard (secret.labels[TokenSecret.invalidSince] ?? "").isEmpty else {
            throw Rejection(
                "token of service account \(namespace)/\(name) is marked as invalid, as nobody used it for long: make "
                    + "one with `kubectl create token`, or take the label \(TokenSecret.invalidSince) from secret "
                    + "\(namespace)/\(secret.name) to use this one for the time being", secret: secret)
        }
        let warning =
            TokenSecret.isGenerated(secret, for: account)
            ? "the token of secret \(namespace)/\(secret.name) was made automatically and will be given up when it is "
                + "not used: use tokens of the TokenRequest API, or of a Secret made by hand" : nil
        return Verified(user: Self.user(account), audiences: [], secret: secret, warning: warning)
    }

    /// The audiences that a token has and that somebody asks for.
    private static func common(_ token: [String], _ asked: [String]) throws(Rejection) -> [String] {
        let common = token.filter(asked.contains)
        guard !common.isEmpty else {
            throw Rejection("token audiences \(token) is invalid for the target audiences \(asked)")
        }
        return common
    }

    static let bindable: [(kind: String, resource: GroupVersionResource)] = [
        ("pod", .pods), ("node", .nodes), ("secret", .secrets),
    ]

    private func require(
        _ resource: GroupVersionResource, _ namespace: String?, _ name: String, uid: String?
    ) throws(Rejection) -> StoredObject {
        guard let object = mirror.object(StorageKey(resource), namespace, name) else {
            throw Rejection("token is bound to \(resource.resource) \"\(name)\", which does not exist")
        }
        let now = object.object().uid
        if let uid, uid != now {
            throw Rejection("token is bound to another \(resource.resource) \"\(name)\" (uid \(uid), now \(now))")
        }
        return object
    }
}
