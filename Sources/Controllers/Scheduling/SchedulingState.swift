// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
import Values

/// What the scheduler knows: nodes with their pods, pods that wait, pods for which no node was found. A value without
/// I/O: the scheduler feeds it changes and asks it for the next decision.
package struct SchedulingState: Sendable {
    package enum Decision: Sendable {
        /// Bind it there. The pod counts as being there from now on.
        case bind(PodInfo, node: String)
        case reject(PodInfo, message: String)
        /// These have to go first. The pod is tried again when they have gone.
        case preempt(PodInfo, Preemption, message: String)
    }

    package private(set) var view = ClusterView()
    /// To be decided.
    private var waiting = WaitingPods()
    /// Decided against, until something changes that could help.
    package private(set) var unschedulable: [String: PodInfo] = [:]
    /// Those of them that a pod's coming to a node could help.
    private var wantCompany: Set<String> = []
    /// Where each pod counts: bound there, or on its way.
    private var places: [String: String] = [:]
    /// Chosen but not yet seen bound.
    private var assumed: Set<String> = []
    /// Pods for which others are being moved away, and from where: nobody less important takes their place.
    private var nominated: [String: (pod: PodInfo, node: String)] = [:]
    /// Pods on nodes that are not known (yet), by node.
    private var strays: [String: [String: PodInfo]] = [:]

    package init() {}

    package var hasWork: Bool { !waiting.isEmpty }
    package var waitingCount: Int { waiting.count }

    // MARK: - Changes

    /// True when waiting pods appeared.
    package mutating func podChanged(_ pod: KubeObject) -> Bool {
        let uid = pod.uid
        if pod.isPodFinished { return podLeft(pod) }
        if let node = pod.nodeName {
            waiting.remove(uid)
            notUnschedulable(uid)
            nominated[uid] = nil
            assumed.remove(uid)
            place(PodInfo(pod), on: node)
            return retry(wantCompany)
        }
        if assumed.contains(uid) { return false }
        guard Self.isOurs(pod), !pod.isBeingDeleted else {
            waiting.remove(uid)
            notUnschedulable(uid)
            nominated[uid] = nil
            return false
        }
        let info = PodInfo(pod)
        if let known = unschedulable[uid] {
            // Its own status is written by us: only another spec or other labels are worth a new attempt.
            if known.pod["spec"] == pod["spec"], known.labels == info.labels { return false }
            notUnschedulable(uid)
        }
        waiting.insert(info)
        return true
    }

    /// Deleted or finished: its resources are free.
    package mutating func podLeft(_ pod: KubeObject) -> Bool {
        let uid = pod.uid
        waiting.remove(uid)
        notUnschedulable(uid)
        nominated[uid] = nil
        assumed.remove(uid)
        guard let node = places.removeValue(forKey: uid) else { return false }
        view.nodes[node]?.remove(uid)
        strays[node]?[uid] = nil
        return retry { _ in true }
    }

    package mutating func nodeChanged(_ node: KubeObject) -> Bool {
        let name = node.name
        if var info = view.nodes[name] {
            let before = info
            info.update(node)
            view.nodes[name] = info
            return info.schedulesLike(before) ? false : retry { _ in true }
        }
        var info = NodeInfo(node)
        for pod in (strays.removeValue(forKey: name) ?? [:]).values { info.add(pod) }
        view.nodes[name] = info
        return retry { _ in true }
    }

    package mutating func nodeLeft(_ name: String) {
        guard let info = view.nodes.removeValue(forKey: name) else { return }
        if !info.pods.isEmpty { strays[name] = info.pods }
    }

    package mutating func namespaceChanged(_ name: String, labels: [String: String]?) -> Bool {
        guard view.namespaceLabels[name] != labels else { return false }
        view.namespaceLabels[name] = labels
        return retry { !$0.requiredAffinity.isEmpty || !$0.requiredAntiAffinity.isEmpty }
    }

    /// The pod was not bound after all.
    package mutating func forget(_ pod: PodInfo) {
        guard assumed.remove(pod.uid) != nil else { return }
        if let node = places.removeValue(forKey: pod.uid) {
            view.nodes[node]?.remove(pod.uid)
            strays[node]?[pod.uid] = nil
        }
    }

    /// Tries again a pod that could not be bound, unless it went or was bound meanwhile.
    package mutating func tryAgain(_ pod: KubeObject) {
        guard places[pod.uid] == nil, pod.nodeName == nil, !pod.isBeingDeleted, Self.isOurs(pod) else { return }
        notUnschedulable(pod.uid)
        waiting.insert(PodInfo(pod))
    }

    package mutating func retryAll() -> Bool { retry { _ in true } }

    // MARK: - Decisions

    /// Decides on the pod that is first by priority, then by arrival.
    package mutating func next() -> Decision? {
        guard let pod = waiting.popFirst() else { return nil }
        let choice = choose(for: pod)
        if let best = choice.node {
            assumed.insert(pod.uid)
            nominated[pod.uid] = nil
            place(pod, on: best)
            return .bind(pod, node: best)
        }
        let rejections = choice.rejections
        unschedulable[pod.uid] = pod
        if !pod.requiredAffinity.isEmpty || !pod.spread.isEmpty { wantCompany.insert(pod.uid) }
        if pod.pod["spec"]["preemptionPolicy"].string == "Never" {
            return .reject(pod, message: FitMessage.text(rejections, preemption: .forbidden))
        }
        if isPlaceBeingMade(for: pod) {
            return .reject(pod, message: FitMessage.text(rejections, preemption: .underWay))
        }
        nominated[pod.uid] = nil
        if let preemption = Preemption.find(for: pod, in: viewWithNominated(for: pod), nodes: choice.hopeful) {
            nominated[pod.uid] = (pod, preemption.node)
            return .preempt(pod, preemption, message: FitMessage.text(rejections, preemption: .done))
        }
        return .reject(pod, message: FitMessage.text(rejections, preemption: .tried))
    }

    private struct Choice {
        var node: String?
        var rejections: [Rejection] = []
        /// The nodes that fewer pods could make fit.
        var hopeful: [String] = []
    }

    /// A function of its own, so that nobody holds the view any more when it changes: it is not copied then.
    private func choose(for pod: PodInfo) -> Choice {
        let view = viewWithNominated(for: pod)
        let filters = Filters(pod: pod, view: view)
        var choice = Choice()
        var candidates: [NodeInfo] = []
        for node in view.nodes.values {
            if let rejection = filters.reject(node) {
                choice.rejections.append(rejection)
                if rejection.preemptionMayHelp { choice.hopeful.append(node.name) }
            } else {
                candidates.append(node)
            }
        }
        choice.node = Scores(pod: pod, view: view).best(candidates)?.name
        return choice
    }

    /// The nodes as they will be when the pods have come for which room is being made.
    private func viewWithNominated(for pod: PodInfo) -> ClusterView {
        guard !nominated.isEmpty else { return view }
        var view = view
        for (uid, entry) in nominated where uid != pod.uid && entry.pod.priority >= pod.priority {
            view.nodes[entry.node]?.add(entry.pod)
        }
        return view
    }

    /// Pods that were told to go for this one are still going.
    private func isPlaceBeingMade(for pod: PodInfo) -> Bool {
        guard let node = nominated[pod.uid]?.node else { return false }
        return view.nodes[node]?.pods.values.contains { $0.pod.isBeingDeleted && $0.priority < pod.priority } ?? false
    }

    // MARK: -

    package static func isOurs(_ pod: KubeObject) -> Bool {
        (pod["spec"]["schedulerName"].string ?? "default-scheduler") == "default-scheduler"
            && (pod["spec"]["schedulingGates"].array ?? []).isEmpty
    }

    private mutating func notUnschedulable(_ uid: String) {
        unschedulable[uid] = nil
        wantCompany.remove(uid)
    }

    private mutating func place(_ pod: PodInfo, on node: String) {
        if let before = places[pod.uid], before != node {
            view.nodes[before]?.remove(pod.uid)
            strays[before]?[pod.uid] = nil
        }
        places[pod.uid] = node
        if view.nodes[node] != nil {
            view.nodes[node]?.add(pod)
        } else {
            strays[node, default: [:]][pod.uid] = pod
        }
    }

    /// Moves those to the waiting ones that what happened could help.
    private mutating func retry(_ couldHelp: (PodInfo) -> Bool) -> Bool {
        retry(unschedulable.filter { couldHelp($0.value) }.keys)
    }

    private mutating func retry(_ uids: some Sequence<String>) -> Bool {
        var moved = false
        for uid in uids {
            guard let pod = unschedulable[uid] else { continue }
            notUnschedulable(uid)
            waiting.insert(pod)
            moved = true
        }
        return moved
    }
}
