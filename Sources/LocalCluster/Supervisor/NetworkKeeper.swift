// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// Has a cluster's fabric put right when somebody else changes it, and gives the machine its way to the pods: the
/// supervisor's part of the network that goes on after the start.
struct NetworkKeeper: Sendable {
    private let profile: Profile
    private let watch: FabricWatch
    private let access: ClusterAccess
    private let recorder: EventRecorder
    private let progress: ProgressLog
    private let log: Logger

    init(_ fabric: ClusterFabric, profile: Profile, paths: ProfilePaths, progress: ProgressLog, log: Logger) throws {
        let access = try ClusterAccess(profile: profile, pki: ProfilePKI(paths: paths))
        let recorder = EventRecorder(
            access.client, component: "catbird-supervisor", host: profile.name.description, logger: log)
        self.access = access
        self.recorder = recorder
        self.profile = profile
        self.progress = progress
        self.log = log
        let first = profile.controlPlaneNode?.name
        watch = try FabricWatch(fabric.fabric, log: log) { repair in
            let text = repair.differences.joined(separator: "; ")
            log.warning("put back", metadata: ["place": "\(repair.place)", "differences": "\(text)"])
            progress.note("repair", "\(repair.place): \(text); put back", ["place": JSON("\(repair.place)")])
            var name = first
            if case .node(let node) = repair.place { name = node }
            Self.record(
                recorder, name, "NetworkRepaired",
                "Catbird put back what somebody else had taken away of \(repair.place): \(text)")
        }
    }

    private static func record(_ recorder: EventRecorder, _ node: String?, _ reason: String, _ message: String) {
        guard let node else { return }
        // As kubelets do, so that `kubectl describe node` shows it.
        recorder.record(
            reference: ["kind": "Node", "name": JSON(node), "uid": JSON(node), "apiVersion": "v1"], type: .warning,
            reason: reason, message: message)
    }

    /// Watches the machine and the fabric, and follows the pools until cancelled.
    func run() async {
        do { try await watch.start() } catch {
            log.error("changes of the network by others will not be noticed", metadata: ["error": "\(error)"])
        }
        let pools = Informer(access.client, .ipPools, logger: log)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await pools.run() }
            var told: Set<OccupiedRange> = []
            for await _ in pools.events() {
                let clashes = await watch.routePods(Self.ranges(pools.all()))
                for clash in clashes where told.insert(clash).inserted { tell(clash) }
            }
        }
        await watch.end()
    }

    private func tell(_ clash: OccupiedRange) {
        let text =
            "This machine has no way to the pods of \(clash.range): it uses \(clash.use) itself; "
            + "reach them by kubectl port-forward or a Service, or give the pods another pool"
        log.warning("\(text)")
        progress.note("podRoute", text, ["range": JSON("\(clash.range)")])
        Self.record(recorder, profile.controlPlaneNode?.name, "NoRouteToPods", text)
    }

    /// The networks of pods, without those that lie in another.
    static func ranges(_ pools: [KubeObject]) -> [CIDR] {
        let all = Set(pools.compactMap { try? IPPool($0) }.map(\.cidr).filter { $0.family == .v4 })
        return all.filter { inner in !all.contains { $0 != inner && $0.contains(inner) } }.sorted()
    }

    func add(_ node: Profile.Node, _ namespaces: NodeNamespaces) async {
        do { try await watch.add(node, namespaces.net) } catch {
            log.error(
                "changes of a node's network by others will not be noticed",
                metadata: ["node": "\(node.name)", "error": "\(error)"])
        }
    }

    func remove(_ node: String) async { await watch.remove(node) }

    /// After this nothing is put back any more.
    func end() async {
        await watch.end()
        await access.shutdown()
    }
}
