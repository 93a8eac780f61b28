// SPDX-License-Identifier: Apache-2.0

public import Logging
import KubeObjects
import Values

/// Leadership among processes through a `Lease`: the body runs only while this process holds it.
public struct LeaderElection: Sendable {
    /// How long a lease is good after its last renewal, how long renewing may fail before leadership is given up, and
    /// how often to try.
    public struct Timing: Sendable {
        public var leaseDuration: Duration
        public var renewDeadline: Duration
        public var retryPeriod: Duration

        public init(
            leaseDuration: Duration = .seconds(15), renewDeadline: Duration = .seconds(10),
            retryPeriod: Duration = .seconds(2)
        ) {
            self.leaseDuration = leaseDuration
            self.renewDeadline = renewDeadline
            self.retryPeriod = retryPeriod
        }
    }

    private let client: KubeClient
    private let namespace: String
    private let name: String
    private let identity: String
    private let timing: Timing
    private let clock: any Clock<Duration>
    private let logger: Logger

    public init(
        _ client: KubeClient, namespace: String, name: String, identity: String, timing: Timing = Timing(),
        clock: any Clock<Duration> = ContinuousClock(), logger: Logger = Logger(label: "leader")
    ) {
        self.client = client
        self.namespace = namespace
        self.name = name
        self.identity = identity
        self.timing = timing
        self.clock = clock
        self.logger = logger
    }

    /// Waits for leadership, runs `body` while it lasts, and returns when leadership is lost (`body` is cancelled
    /// first), when `body` returns, or when cancelled. On the way out the lease is released, so that the next leader
    /// need not wait for its end.
    public func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
        // Somebody else's lease is judged by how long it stays unchanged on this process's clock, never by comparing
        // clocks of two machines.
        var seen: (lease: JSON?, at: ContinuousClock.Instant)? = nil
        while true {
            try Task.checkCancellation()
            if (try? await acquire(&seen)) == true { break }
            try await clock.sleep(for: timing.retryPeriod * Double.random(in: 0.8...1))
        }
        logger.debug("\(identity) leads \(namespace)/\(name)")
        defer { logger.debug("\(identity) no longer leads \(namespace)/\(name)") }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await body() }
                group.addTask { try await renew() }
                try await group.next()
                group.cancelAll()
            }
        } catch {
            await release()
            throw error
        }
        await release()
    }

    private func acquire(_ seen: inout (lease: JSON?, at: ContinuousClock.Instant)?) async throws -> Bool {
        let current: KubeObject
        do {
            current = try await client.get(.leases, name, in: namespace)
        } catch let error as APIError where error.isNotFound {
            var lease = KubeObject(.leases, kind: "Lease", name: name, namespace: namespace)
            lease["spec"] = spec(transitions: 0, acquired: .now)
            try await client.create(.leases, lease)
            return true
        }
        let holder = current["spec"]["holderIdentity"].string ?? ""
        if !holder.isEmpty, holder != identity {
            if seen == nil || seen?.lease != current["spec"] {
                seen = (current["spec"], .now)
                return false
            }
            let duration = Duration.seconds(current["spec"]["leaseDurationSeconds"].int ?? 15)
            guard let since = seen?.at, ContinuousClock.now - since >= duration else { return false }
        }
        var next = current
        let transitions = current["spec"]["leaseTransitions"].int ?? 0
        next["spec"] = spec(transitions: holder == identity ? transitions : transitions &+ 1, acquired: .now)
        try await client.update(.leases, next)
        return true
    }

    /// Renews until that fails for too long.
    private func renew() async throws {
        var last = ContinuousClock.now
        while true {
            try await clock.sleep(for: timing.retryPeriod)
            do {
                var lease = try await client.get(.leases, name, in: namespace)
                guard lease["spec"]["holderIdentity"].string == identity else { return }
                lease["spec"]["renewTime"] = JSON(Timestamp.now.micro)
                try await client.update(.leases, lease)
                last = .now
            } catch {
                try Task.checkCancellation()
                logger.debug("renewing \(namespace)/\(name): \(error)")
                if ContinuousClock.now - last >= timing.renewDeadline { return }
            }
        }
    }

    private func release() async {
        // A task of its own, because this one may be cancelled already; it is awaited.
        await Task {
            guard var lease = try? await client.get(.leases, name, in: namespace),
                lease["spec"]["holderIdentity"].string == identity
            else { return }
            lease["spec"]["holderIdentity"] = ""
            _ = try? await client.update(.leases, lease)
        }.value
    }

    private func spec(transitions: Int, acquired: Timestamp) -> JSON {
        [
            "holderIdentity": JSON(identity),
            "leaseDurationSeconds": JSON(Int(max(1, timing.leaseDuration.components.seconds))),
            "acquireTime": JSON(acquired.micro), "renewTime": JSON(acquired.micro),
            "leaseTransitions": JSON(transitions),
        ]
    }
}
