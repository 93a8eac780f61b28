// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct LeaderElectionTests {
    /// One lease, with compare-and-swap by resource version.
    private final class LeaseServer: APITransport {
        private let lease = Mutex<(object: JSON?, version: Int)>((nil, 0))
        var holder: String? { lease.withLock { $0.object["spec"]["holderIdentity"].string } }

        func send(_ request: APIRequest) async throws -> APIResponse {
            lease.withLock { lease in
                switch request.method {
                case "GET":
                    return lease.object.map { APIResponse.json($0) } ?? .failure(404, "NotFound")
                case "POST" where lease.object != nil: return .failure(409, "AlreadyExists")
                case "PUT"
                where request.json["metadata"]["resourceVersion"] != lease.object["metadata"]["resourceVersion"]:
                    return .failure(409, "Conflict")
                default:
                    lease.version += 1
                    lease.object = request.json
                    lease.object["metadata"]["resourceVersion"] = JSON(String(lease.version))
                    return .json(lease.object ?? .null)
                }
            }
        }
    }

    @Test func oneLeadsAtATimeAndHandsOver() async throws {
        let server = LeaseServer()
        struct Leading { var now = 0, most = 0, turns = 0 }
        let leading = Shared(Leading())
        @Sendable func lead(_ name: String) async throws {
            try await LeaderElection(
                KubeClient(server), namespace: "kube-system", name: "controllers", identity: name,
                clock: ImpatientClock()
            ).run {
                leading.withLock { leading in
                    leading.now += 1
                    leading.most = max(leading.most, leading.now)
                    leading.turns += 1
                }
                for _ in 0..<20 { await Task.yield() }
                leading.withLock { $0.now -= 1 }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<5 { group.addTask { try await lead("n\(index)") } }
            try await group.waitForAll()
        }
        let result = leading.withLock { $0 }
        #expect(result.most == 1 && result.turns == 5 && server.holder == "")
    }

    @Test func whoIsCancelledReleases() async throws {
        let server = LeaseServer()
        let (led, continuation) = AsyncStream<Void>.makeStream()
        let task = Task {
            try await LeaderElection(KubeClient(server), namespace: "n", name: "l", identity: "me").run {
                continuation.finish()
                for await _ in AsyncStream<Void>.makeStream().stream {}
                try Task.checkCancellation()
            }
        }
        for await _ in led {}
        #expect(server.holder == "me")
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(server.holder == "")
    }
}
