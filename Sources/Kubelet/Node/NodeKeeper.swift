// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
package import Values

/// Keeps the node known: registers it, renews its lease, and reports its state when it changes, when somebody else
/// has written over it, and after everything stood still.
actor NodeKeeper {
    private let context: KubeletContext
    private let images: any ImageSource
    private let object: NodeObject
    private var node: KubeObject?
    private var conditions: [JSON] = []
    private var wasReady: Bool?
    private let informer: Informer
    private let rounds: AsyncStream<Void>
    private nonisolated let bell: AsyncStream<Void>.Continuation
    private let renewals: AsyncStream<Void>
    private nonisolated let renewal: AsyncStream<Void>.Continuation

    init(context: KubeletContext, images: any ImageSource) {
        self.context = context
        self.images = images
        object = NodeObject(configuration: context.configuration, machine: context.machine)
        informer = Informer(
            context.client, .nodes, fieldSelector: "metadata.name=\(context.configuration.nodeName)")
        (rounds, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (renewals, renewal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    private var name: String { context.configuration.nodeName }

    func run() async {
        let bell = self.bell
        // Listened to before the state is read: no change is missed.
        let events = context.runtime.events()
        await withDiscardingTaskGroup { group in
            group.addTask {
                for await event in events where event == .networkChanged { bell.yield() }
            }
            group.addTask {
                // A report every five minutes tells that the node is as it was: an interval by definition.
                while (try? await Task.sleep(for: .seconds(300))) != nil { bell.yield() }
            }
            group.addTask { await self.informer.run() }
            group.addTask {
                for await batch in self.informer.events() { for event in batch { await self.see(event) } }
            }
            group.addTask { await self.keepLease() }
            group.addTask { await self.callForRenewals() }
            bell.yield()
            for await _ in rounds { await report() }
        }
    }

    private func report() async {
        var wait = Duration.milliseconds(100)
        while !Task.isCancelled {
            do {
                try await reportOnce()
                return
            } catch let error as APIError where error.isNotFound && node != nil {
                // Somebody took it out of the cluster. It is reported again when it is there again.
                context.log.warning("node \(name) was deleted: a restart of the kubelet registers it again")
                return
            } catch {
                context.log.warning("cannot report the state of node \(name): \(error)")
                // The API server is away, and its return sends no event.
                do { try await Task.sleep(for: wait) } catch { return }
                wait = min(wait * 2, .seconds(5))
            }
        }
    }

    private func reportOnce() async throws {
        let network = context.runtime.networkReady()
        func status() -> JSON {
            object.status(
                networkMessage: network.ready ? nil : network.message, previous: conditions,
                images: images.list().map { (names: $0.repoTags + $0.repoDigests, size: $0.sizeBytes) },
                known: node?["status"], now: .now)
        }
        if node == nil {
            node = try await register(status())
            conditions = node?["status"]["conditions"].array ?? []
            event("Starting", "Starting kubelet.")
        }
        let next = status()
        conditions = next["conditions"].array ?? []
        // The taint that keeps pods away until then is for the controller to take off: a node may not.
        let answer = try await context.client.patch(
            .nodes, name, type: .strategic, ["status": next], subresource: "status")
        node = answer
        context.setAllocatable(answer["status"]["allocatable"])
        // What was told of resources since the last look.
        if ExtendedResources.areUnequal(answer["status"]) { bell.yield() }
        if wasReady != network.ready {
            if network.ready {
                event("NodeReady", "Node \(name) status is now: NodeReady")
            } else if wasReady == true {
                event("NodeNotReady", "Node \(name) status is now: NodeNotReady")
            }
            wasReady = network.ready
        }
    }

    /// Looks whether somebody else wrote what is the kubelet's to say: the node controller above all, which takes a
    /// node for dead that only stood still.
    private func see(_ event: InformerEvent) {
        let seen: KubeObject
        switch event {
        case .added(let object), .updated(_, let object): seen = object
        case .deleted: return
        }
        // Older than our own last report: the watch only follows.
        guard let known = node, let version = Int64(seen.resourceVersion), version > Int64(known.resourceVersion) ?? 0
        else { return }
        let isOverwritten = OwnedStatus.node.differs(seen["status"], from: known["status"])
        node = seen
        conditions = seen["status"]["conditions"].array ?? []
        guard isOverwritten || ExtendedResources.areUnequal(seen["status"]) else { return }
        context.log.info("the status of node \(name) was changed by somebody else: reporting it again")
        bell.yield()
        renewal.yield()
    }

    private func register(_ status: JSON) async throws -> KubeObject {
        do {
            let known = try await context.client.get(.nodes, name)
            let missing = object.labels.filter { known.labels[$0.key] != $0.value }
            guard !missing.isEmpty else { return known }
            return try await context.client.patch(
                .nodes, name, type: .merge, ["metadata": ["labels": JSON(missing)]])
        } catch let error as APIError where error.isNotFound && context.configuration.registersNode {
            do {
                return try await context.client.create(.nodes, object.new(status: status))
            } catch let error as APIError where error.isAlreadyExists {
                return try await context.client.get(.nodes, name)
            }
        }
    }

    private func event(_ reason: String, _ message: String) {
        let reference: JSON = ["kind": "Node", "name": JSON(name), "uid": JSON(name), "apiVersion": "v1"]
        context.events.record(reference: reference, type: .normal, reason: reason, message: message)
    }

    // MARK: Lease

    /// How often the lease is renewed; it lasts for forty seconds.
    static let leaseInterval = 10

    /// Asks for a renewal of the lease every ten seconds, an interval by definition. More than that between two of them
    /// means that everything stood still: whoever watches this node may have written it off, and hears of it at once.
    private func callForRenewals() async {
        var last = Timestamp.now
        while !Task.isCancelled {
            renewal.yield()
            do { try await Task.sleep(for: .seconds(Self.leaseInterval)) } catch { break }
            let now = Timestamp.now
            if ClockGap.isOne(from: last, to: now, expected: Self.leaseInterval) { bell.yield() }
            last = now
        }
        renewal.finish()
    }

    private func keepLease() async {
        for await _ in renewals {
            do { try await renewLease() } catch {
                context.log.debug("cannot renew the lease of node \(name): \(error)")
                // The API server is away, and its return sends no event.
                do { try await Task.sleep(for: .seconds(1)) } catch { return }
                renewal.yield()
            }
        }
    }

    private func renewLease() async throws {
        let client = context.client
        let namespace = "kube-node-lease"
        let spec: JSON = [
            "holderIdentity": JSON(name), "leaseDurationSeconds": 40, "renewTime": JSON(Timestamp.now.micro),
        ]
        do {
            _ = try await client.patch(.leases, name, in: namespace, type: .merge, ["spec": spec])
        } catch let error as APIError where error.isNotFound {
            var lease = KubeObject(.leases, kind: "Lease", name: name, namespace: namespace)
            if let node {
                lease.metadata["ownerReferences"] = [
                    ["apiVersion": "v1", "kind": "Node", "name": JSON(name), "uid": JSON(node.uid)]
                ]
            }
            lease["spec"] = spec
            do { try await client.create(.leases, lease) } catch let error as APIError where error.isAlreadyExists {}
        }
    }
}

/// Whether a clock went on by much more than was waited: the machine slept, or the process was stopped.
package enum ClockGap {
    package static func isOne(from last: Timestamp, to now: Timestamp, expected seconds: Int) -> Bool {
        now.seconds(since: last) >= Double(seconds) * 1.5
    }
}
