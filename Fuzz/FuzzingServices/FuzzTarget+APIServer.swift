// SPDX-License-Identifier: Apache-2.0

import APIServer
import Dispatch
import Fuzzing
import HTTPServing
import KubeClient
import KubeObjects
import NIOHTTP1
import PKI
import Storage
import Synchronization
import Values

extension FuzzTarget {
    /// What the API server reads besides bodies: tokens and where lists go on.
    static let apiServer: [FuzzTarget] = [
        FuzzTarget(text: "continue") { text in
            guard let token = ContinueToken(text) else { return }
            precondition(ContinueToken(token.text) == token, "a continue token changes when it is written")
        },
        FuzzTarget("jwt") { bytes in
            let rig = TokenRig.shared
            // The token as it is: nobody but the server signs what it accepts.
            let text = String(decoding: bytes, as: UTF8.self)
            precondition((try? rig.signer.verify(text)) == nil, "a token is accepted that was not issued")
            precondition(rig.status(bearer: text) == 401, "the server accepts a token that it did not issue")
            // Claims, signed: what is behind the signature.
            guard let claims = try? JSON(parsing: bytes), claims.object != nil, let token = try? rig.signer.sign(claims)
            else { return }
            precondition(
                (try? rig.signer.verify(token))?.serialized() == claims.serialized(), "claims change on their way")
            precondition([200, 401, 403].contains(rig.status(bearer: token)), "the server fails over a token's claims")
        },
    ]
}

/// A server with the service account `default/default`, whose signer is known.
private final class TokenRig: Sendable {
    static let shared = TokenRig()

    let signer = TokenSigner.create()
    private let server: APIServer

    private init() {
        server = APIServer(
            storage: MemoryBackend(),
            configuration: APIServerConfiguration(tokenSigner: signer, compactionInterval: nil)
        )
        wait { [server] in
            try? await server.bootstrap()
            let client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
            _ = try? await client.create(
                .serviceAccounts,
                KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        }
    }

    /// What is answered to a request with the token.
    func status(bearer token: String) -> Int {
        let headers = HTTPHeaders([("Authorization", "Bearer \(token)"), ("Accept", "application/json")])
        guard let request = HTTPRequest(method: "GET", target: "/api/v1/namespaces/default", headers: headers) else {
            return 0
        }
        return wait { [server] in await server.respond(to: request).status }
    }

    /// libFuzzer's call returns when the work is done.
    private func wait<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) -> Value {
        let box = Box<Value>()
        let done = DispatchSemaphore(value: 0)
        Task.detached {
            let value = await work()
            box.value.withLock { $0 = value }
            done.signal()
        }
        done.wait()
        guard let value = box.value.withLock({ $0 }) else { preconditionFailure("the work ended without a value") }
        return value
    }

    private final class Box<Value: Sendable>: Sendable {
        let value = Mutex<Value?>(nil)
    }
}
