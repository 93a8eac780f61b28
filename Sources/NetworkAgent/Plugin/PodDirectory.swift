// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import KubeClient
import KubeObjects
import Logging
import Values

/// What a request has to know of pods, and whom it tells about them.
protocol PodDirectory: Sendable {
    /// What is missing before addresses can be given out; nil when nothing is.
    var missing: String? { get }
    /// Returns when nothing is missing any more.
    func waitUntilComplete() async
    /// Whether `calicoctl datastore migrate lock` forbids new addresses: ClusterInformation `default` has
    /// `datastoreReady` false.
    func isLocked() async throws -> Bool
    /// The pod of the sandbox; nil for a container of no pod.
    func pod(of sandbox: Sandbox) async throws -> KubeObject?
    func namespace(_ name: String) async throws -> KubeObject
    /// Tells that the pod has its addresses.
    func annotate(_ pod: KubeObject, _ annotations: [(key: String, value: String)]) async throws
    func record(_ pod: KubeObject, _ explanation: String)
}

/// The pods that an agent watches.
struct WatchedPods: PodDirectory {
    let client: KubeClient
    let view: ClusterView
    let recorder: EventRecorder

    var missing: String? { view.canGiveAddresses ? nil : view.missingForAddresses }
    func waitUntilComplete() async { await view.waitForAddresses() }
    func isLocked() -> Bool { view.clusterInformations[nil, "default"]?["spec"]["datastoreReady"].bool == false }

    func pod(of sandbox: Sandbox) async throws -> KubeObject? {
        guard let name = sandbox.pod, let namespace = sandbox.namespace else { return nil }
        if let cached = view.pods[namespace, name], sandbox.uid.map({ $0 == cached.uid }) ?? true { return cached }
        return try await AskedPods(client: client).pod(of: sandbox)
    }

    func namespace(_ name: String) async throws -> KubeObject {
        if let cached = view.namespaces[nil, name] { return cached }
        return try await client.get(.namespaces, name)
    }

    func annotate(_ pod: KubeObject, _ annotations: [(key: String, value: String)]) async throws {
        try await AskedPods(client: client).annotate(pod, annotations)
    }

    func record(_ pod: KubeObject, _ explanation: String) {
        recorder.record(pod, type: .normal, reason: "AddressAssigned", message: explanation)
    }
}

/// The pods of a cluster, each asked for when it is needed.
struct AskedPods: PodDirectory {
    let client: KubeClient

    var missing: String? { nil }
    func waitUntilComplete() async {}

    func isLocked() async throws -> Bool {
        do {
            let information = try await client.get(.clusterInformations, "default")
            return information["spec"]["datastoreReady"].bool == false
        } catch let error as APIError where error.isNotFound {
            return false
        }
    }

    func pod(of sandbox: Sandbox) async throws -> KubeObject? {
        guard let name = sandbox.pod, let namespace = sandbox.namespace else { return nil }
        do {
            let pod = try await client.get(.pods, name, in: namespace)
            guard sandbox.uid.map({ $0 == pod.uid }) ?? true else {
                throw CNIError(
                    .plugin,
                    "\(sandbox.subject) is another one by now: its uid is \(pod.uid), and the sandbox is for \(sandbox.uid ?? "")"
                )
            }
            return pod
        } catch let error as APIError where error.isNotFound {
            throw CNIError(.plugin, "\(sandbox.subject) does not exist any more")
        }
    }

    func namespace(_ name: String) async throws -> KubeObject { try await client.get(.namespaces, name) }

    func annotate(_ pod: KubeObject, _ annotations: [(key: String, value: String)]) async throws {
        let values = JSONObject(annotations.map { ($0.key, JSON($0.value)) })
        try await client.patch(
            .pods, pod.name, in: pod.namespace, type: .merge,
            ["metadata": ["uid": JSON(pod.uid), "annotations": .object(values)]], subresource: "status")
    }

    /// A process that ends at once has nobody to collect its events.
    func record(_ pod: KubeObject, _ explanation: String) {}
}

/// A machine without a cluster: containers of no pods, whatever their runtime calls them.
struct NoPods: PodDirectory {
    var missing: String? { nil }
    func waitUntilComplete() async {}
    func isLocked() -> Bool { false }
    func pod(of sandbox: Sandbox) async throws -> KubeObject? { nil }

    func namespace(_ name: String) async throws -> KubeObject {
        KubeObject(.namespaces, kind: "Namespace", name: name)
    }

    func annotate(_ pod: KubeObject, _ annotations: [(key: String, value: String)]) async throws {}
    func record(_ pod: KubeObject, _ explanation: String) {}
}
