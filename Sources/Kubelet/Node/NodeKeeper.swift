// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
import Values

/// Keeps the node known: registers it, renews its lease, and reports its state when it changes.
actor NodeKeeper {
    private let context: KubeletContext
    private let images: any ImageSource
    private let object: NodeObject
    private var node: KubeObject?
    private var conditions: [JSON] = []
    private var wasReady: Bool?
    private let rounds: AsyncStream<Void>
    private nonisolated let bell: AsyncStream<Void>.Continuation

    init(context: KubeletContext, images: any ImageSource) {
        self.context = context
        self.images = images
        object = NodeObject(configuration: context.configuration, machine: context.machine)
        (rounds, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
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
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(300))
                    bell.yield()
                }
            }
            group.addTask { await self.keepLease() }
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
            } catch {
                context.log.warning("cannot report the state of node \(name): \(error)")
                // The API server is away, and its return sends no event.
                try? await Task.sleep(for: wait)
                wait = min(wait * 2, .seconds(5))
            }
        }
    }

    private func reportOnce() async throws {
        let network = context.runtime.networkReady()
        func status() -> JSON {
            object.status(
                networkMessage: network.ready ? nil : network.message, previous: conditions,
                images: images.list().map { (names: $0.repoTags + $0.repoDigests, size: $0.sizeBytes) }, now: .now)
        }
        if node == nil {
            node = try await register(status())
            conditions = node?["status"]["conditions"].array ?? []
            event("Starting", "Starting kubelet.")
        }
        let next = status()
        conditions = next["conditions"].array ?? []
        // The taint that keeps pods away until then is for the controller to take off: a node may not.
        node = try await context.client.patch(
            .nodes, name, type: .strategic, ["status": next], subresource: "status")
        if wasReady != network.ready {
            if network.ready {
                event("NodeReady", "Node \(name) status is now: NodeReady")
            } else if wasReady == true {
                event("NodeNotReady", "Node \(name) status is now: NodeNotReady")
            }
            wasReady = network.ready
        }
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

    /// Renews the lease every ten seconds; its duration is forty.
    private func keepLease() async {
        while !Task.isCancelled {
            var wait = Duration.seconds(10)
            do { try await renewLease() } catch {
                context.log.debug("cannot renew the lease of node \(name): \(error)")
                wait = .seconds(1)
            }
            try? await Task.sleep(for: wait)
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
