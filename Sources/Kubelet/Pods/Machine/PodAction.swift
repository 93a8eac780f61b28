// SPDX-License-Identifier: Apache-2.0

package import ContainerRuntime
import KubeClient
package import Values

/// What a pod's machine wants done. What takes long ends in a ``PodEvent``.
package enum PodAction: Sendable {
    case event(warning: Bool, reason: String, message: String, container: ContainerView?)
    /// Gives back what earlier sandboxes of the pod hold; ends in `formersRemoved`.
    case removeFormers([String])
    /// Ends in `sandboxMade` or `sandboxFailed`.
    case createSandbox(attempt: Int)
    /// Ends in `volumesMade` or `volumesFailed`.
    case setUpVolumes
    /// From the image to the first instruction; ends in `startEnded`. `stale` was created and never ran.
    case start(ContainerView, number: Int, attempt: Int, stale: ContainerID?)
    case cancelStart(String)
    /// Without an event of its own: the runtime tells when the container has ended.
    case stop(ContainerView, ContainerID, grace: Int, runsHook: Bool)
    /// The container was found running: its log is looked after.
    case follow(ContainerID)
    /// The container has ended: neither its log nor its probes are looked after.
    case forget(String, ContainerID)
    /// Each answer is a `probed`.
    case probe(ContainerView, ContainerID, [ProbeKind])
    case endProbes(String, [ProbeKind])
    /// Measures what the pod keeps on disk from now on; an excess is an `evicted`.
    case watchStorage(StorageLimits)
    case publish(PodFacts)
    /// Gives back the address, the namespaces and the volumes; ends in `released`.
    case release
    case removeLogs
    /// Has the API forget the pod; ends in `deleted`.
    case delete
    /// Nothing is left to do.
    case finish
}

/// For tables and logs: the action and what it is about.
extension PodAction: CustomStringConvertible {
    package var description: String {
        switch self {
        case .event(_, let reason, _, let container): "event \(reason)" + (container.map { " \($0.name)" } ?? "")
        case .removeFormers(let ids): "remove \(ids.sorted().joined(separator: " "))"
        case .createSandbox(let attempt): "sandbox \(attempt)"
        case .setUpVolumes: "volumes"
        case .start(let view, _, let attempt, let stale):
            "start \(view.name) \(attempt)" + (stale.map { " for \($0)" } ?? "")
        case .cancelStart(let name): "cancel \(name)"
        case .stop(let view, _, let grace, let runsHook): "stop \(view.name) \(grace)" + (runsHook ? " hook" : "")
        case .follow(let id): "follow \(id)"
        case .forget(let name, _): "forget \(name)"
        case .probe(let view, _, let kinds): "probe \(view.name) \(kinds.map(\.field).joined(separator: " "))"
        case .endProbes(let name, let kinds): "endProbes \(name) \(kinds.map(\.field).joined(separator: " "))"
        case .watchStorage: "watchStorage"
        case .publish: "publish"
        case .release: "release"
        case .removeLogs: "removeLogs"
        case .delete: "delete"
        case .finish: "finish"
        }
    }
}

/// What a pod's machine is told, besides what it sees of the runtime.
package enum PodEvent: Sendable {
    case updated(PodView)
    /// The API has no such pod any more; this is how it was last.
    case vanished(PodView)
    /// A ConfigMap or Secret that the pod refers to came or changed.
    case objectsChanged
    /// The network of the node came or changed: no reason to wait any longer.
    case networkChanged
    /// The node has had enough of the pod.
    case evicted(String)
    /// What could not be removed, and whether that is an address, whose plugin needs an agent that is not up.
    case formersRemoved(failures: [(message: String, holdsAddress: Bool)])
    case sandboxMade(id: String, addresses: [String])
    case sandboxFailed(String)
    /// `renewal`: when a token among the volumes has to be fetched anew.
    case volumesMade(renewal: Timestamp?)
    case volumesFailed(String)
    /// The start with this number has its image.
    case imageReady(String, number: Int)
    case startEnded(String, number: Int, StartOutcome)
    case probed(String, ContainerID, ProbeKind, Bool)
    /// Nil: nothing is left.
    case released(failure: String?)
    case deleted(failure: String?)
}

/// How a try to start a container ended.
package enum StartOutcome: Sendable {
    case started(ContainerID, attempt: Int)
    /// Its image cannot be had now.
    case waiting(reason: String, message: String, retryAt: Timestamp?)
    case failed(reason: String, message: String)
    /// Nothing of it is left.
    case cancelled
}

/// What a pod's machine sees of the node at one moment.
package struct PodSight: Sendable {
    package struct Box: Sendable {
        package let id: String
        package let attempt: Int
        package let isReady: Bool
        package let addresses: [String]

        package init(id: String, attempt: Int, isReady: Bool, addresses: [String]) {
            self.id = id
            self.attempt = attempt
            self.isReady = isReady
            self.addresses = addresses
        }
    }

    package var now: Timestamp
    /// Why no pod can get an address; nil when pods can.
    package var networkTrouble: String?
    /// The pod's sandboxes.
    package var sandboxes: [Box]
    /// Its containers, of all sandboxes.
    package var containers: [ContainerStatus]
    /// How those ended that did.
    package var ends: [ContainerID: Termination]

    package init(
        now: Timestamp, networkTrouble: String? = nil, sandboxes: [Box] = [], containers: [ContainerStatus] = [],
        ends: [ContainerID: Termination] = [:]
    ) {
        self.now = now
        self.networkTrouble = networkTrouble
        self.sandboxes = sandboxes
        self.containers = containers
        self.ends = ends
    }
}
