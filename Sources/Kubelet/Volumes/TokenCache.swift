// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Service account tokens of the pods of this node, each asked for again when four fifths of its life are over.
actor TokenCache {
    private struct Key: Hashable {
        let pod: String
        let request: TokenRequest
    }
    private struct Token {
        let text: String
        let renewal: Timestamp
    }

    private let client: KubeClient
    private var tokens: [Key: Token] = [:]

    init(client: KubeClient) { self.client = client }

    /// The token, and when it is due for renewal.
    func token(_ request: TokenRequest, for pod: PodView) async throws -> (text: String, renewal: Timestamp) {
        let key = Key(pod: pod.uid, request: request)
        if let known = tokens[key], Timestamp.now < known.renewal { return (known.text, known.renewal) }
        var spec: JSON = [
            "expirationSeconds": JSON(request.expirationSeconds),
            "boundObjectRef": [
                "apiVersion": "v1", "kind": "Pod", "name": JSON(pod.name), "uid": JSON(pod.uid),
            ],
        ]
        spec["audiences"] = request.audience.isEmpty ? [] : [JSON(request.audience)]
        let body: JSON = [
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": ["name": JSON(pod.serviceAccount), "namespace": JSON(pod.namespace)], "spec": spec,
        ]
        let answer = try await client.create(
            .serviceAccounts, name: pod.serviceAccount, in: pod.namespace, subresource: "token", body)
        guard let text = answer["status"]["token"].string else {
            throw VolumeError("", "the API server answered a token request without a token")
        }
        let now = Timestamp.now
        let end = answer["status"]["expirationTimestamp"].string.flatMap { Timestamp($0) }
        let life = end.map { $0.seconds(since: now) } ?? Double(request.expirationSeconds)
        // Never sooner than a minute: a clock that runs ahead must not make this a loop.
        let renewal = now.adding(seconds: max(min(life * 0.8, 86400), 60))
        tokens[key] = Token(text: text, renewal: renewal)
        return (text, renewal)
    }

    func forget(pod uid: String) { tokens = tokens.filter { $0.key.pod != uid } }
}
