// SPDX-License-Identifier: Apache-2.0

import Crypto
import HTTPServing
import KubeClient
import KubeObjects
import NIOHTTP1
import Values

/// Who asks the kubelet's port, and whether he may. A client certificate of the cluster says who; without one a bearer
/// token does, which the API server is asked about. What he may is asked of the API server either way.
actor KubeletAccess {
    /// As a review names him.
    struct User: Hashable, Sendable {
        var name: String
        var uid = ""
        var groups: [String] = []
        var extra: [String: [String]] = [:]
    }

    /// Why a request is not answered.
    struct Refusal: Error {
        let answer: ServerAnswer
    }

    private struct Question: Hashable {
        let user: User
        let verb: String
        let subresource: String
    }

    /// What an answer was, until when it is taken as it stands. A client asks again and again, and what the API server
    /// says of him changes seldom; the times are upstream's.
    private struct Answers<Key: Hashable, Value> {
        private var entries: [Key: (value: Value, end: ContinuousClock.Instant)] = [:]
        private static var most: Int { 1024 }

        subscript(key: Key) -> Value? {
            guard let entry = entries[key], entry.end > .now else { return nil }
            return entry.value
        }

        mutating func keep(_ value: Value, for key: Key, _ duration: Duration) {
            if entries.count >= Self.most { entries = entries.filter { $0.value.end > .now } }
            if entries.count >= Self.most { entries.removeAll() }
            entries[key] = (value, .now + duration)
        }
    }

    private static let tokenLife = Duration.seconds(120)
    private static let allowedLife = Duration.seconds(300)
    private static let deniedLife = Duration.seconds(30)

    private let client: KubeClient
    private let node: String
    /// By the digest of the token, which is kept nowhere.
    private var users = Answers<SHA256.Digest, User?>()
    private var decisions = Answers<Question, Bool>()

    init(client: KubeClient, node: String) {
        self.client = client
        self.node = node
    }

    /// Returns when the client may have what he asks for; throws the answer that he gets else.
    func check(_ request: HTTPRequest) async throws(Refusal) {
        let user = try await authenticate(request)
        // Who may everything may it also while the API server is away.
        if user.groups.contains("system:masters") { return }
        let verb = Self.verb(request.method)
        let subresources = Self.subresources(request.path)
        for subresource in subresources {
            if try await isAllowed(Question(user: user, verb: verb, subresource: subresource), subresources) { return }
        }
        throw Refusal(
            answer: .failure(403, "Forbidden", "Forbidden (\(Self.title(user, verb, subresources)))"))
    }

    // MARK: Who

    private func authenticate(_ request: HTTPRequest) async throws(Refusal) -> User {
        if let client = request.client {
            return User(name: client.commonName, groups: client.organizations + ["system:authenticated"])
        }
        let header = request.headers.first(name: "authorization") ?? ""
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Self.unauthorized(
                "the kubelet asks for a client certificate of the cluster, or for a bearer token (Authorization: Bearer TOKEN)"
            )
        }
        let token = parts[1].drop { $0 == " " }
        let digest = SHA256.hash(data: Array(token.utf8))
        let known: User?
        if let kept = users[digest] {
            known = kept
        } else {
            do { known = try await review(String(token)) } catch {
                throw Self.unauthorized("the API server cannot be asked about the bearer token: \(error)")
            }
            users.keep(known, for: digest, Self.tokenLife)
        }
        guard let known else { throw Self.unauthorized("the API server does not know the bearer token") }
        return known
    }

    private static func unauthorized(_ why: String) -> Refusal {
        Refusal(answer: .failure(401, "Unauthorized", "Unauthorized: \(why)"))
    }

    /// Nil for a token of nobody.
    private func review(_ token: String) async throws -> User? {
        let review: JSON = [
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": [:],
            "spec": ["token": JSON(token)],
        ]
        let status = try await client.create(.tokenReviews, KubeObject(review))["status"]
        guard status["authenticated"].bool == true, let user = status["user"], let name = user["username"].string else {
            return nil
        }
        var extra: [String: [String]] = [:]
        for (key, values) in user["extra"].object ?? [:] { extra[key] = values.array?.compactMap(\.string) }
        return User(
            name: name, uid: user["uid"].string ?? "", groups: user["groups"].array?.compactMap(\.string) ?? [],
            extra: extra)
    }

    // MARK: What

    static func verb(_ method: String) -> String {
        switch method {
        case "POST": "create"
        case "GET", "HEAD": "get"
        case "PUT": "update"
        case "PATCH": "patch"
        case "DELETE": "delete"
        default: ""
        }
    }

    /// The subresources of nodes that give access to a path: any of them is enough.
    static func subresources(_ path: String) -> [String] {
        switch path.split(separator: "/").first {
        case "stats": ["stats"]
        case "metrics": ["metrics"]
        case "logs": ["log"]
        case "checkpoint": ["checkpoint"]
        case "pods", "runningpods": ["pods", "proxy"]
        case "healthz": ["healthz", "proxy"]
        case "configz": ["configz", "proxy"]
        default: ["proxy"]
        }
    }

    private func isAllowed(_ question: Question, _ subresources: [String]) async throws(Refusal) -> Bool {
        if let known = decisions[question] { return known }
        let user = question.user
        var spec: JSON = [
            "user": JSON(user.name), "groups": JSON(user.groups),
            "resourceAttributes": [
                "verb": JSON(question.verb), "version": "v1", "resource": "nodes",
                "subresource": JSON(question.subresource), "name": JSON(node),
            ],
        ]
        if !user.uid.isEmpty { spec["uid"] = JSON(user.uid) }
        if !user.extra.isEmpty {
            spec["extra"] = .object(JSONObject(user.extra.map { ($0.key, JSON($0.value)) }))
        }
        let review: JSON = [
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": [:], "spec": spec,
        ]
        let isAllowed: Bool
        do {
            isAllowed =
                try await client.create(.subjectAccessReviews, KubeObject(review))["status"]["allowed"].bool == true
        } catch {
            throw Refusal(
                answer: .failure(
                    500, "InternalError",
                    "Authorization error (\(Self.title(user, question.verb, subresources))): the API server cannot be asked: \(error)"
                ))
        }
        decisions.keep(isAllowed, for: question, isAllowed ? Self.allowedLife : Self.deniedLife)
        return isAllowed
    }

    private static func title(_ user: User, _ verb: String, _ subresources: [String]) -> String {
        "user=\(user.name), verb=\(verb), resource=nodes, subresource(s)=[\(subresources.joined(separator: " "))]"
    }
}

extension GroupVersionResource {
    fileprivate static let tokenReviews = GroupVersionResource("authentication.k8s.io", "v1", "tokenreviews")
    fileprivate static let subjectAccessReviews = GroupVersionResource(
        "authorization.k8s.io", "v1", "subjectaccessreviews")
}
