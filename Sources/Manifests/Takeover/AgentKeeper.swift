// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import KubeObjects
public import Logging
import Values

/// Keeps the DaemonSet calico-node one that can run on a local cluster, whoever applied another over it: what
/// `catbird manifests` prints for clusters elsewhere, whose agent reaches the API by a Service that only the agent
/// itself makes, or Calico's own calico.yaml, whose programs would work against the agent's tables.
///
/// What Calico's sets is taken over as far as ``Takeover`` can; that it was, and what was not, is said in the log, by an
/// event of the object, and in its annotation ``annotation``, which `doctor` reads.
public struct AgentKeeper: Sendable {
    /// Of an object that Catbird has put something else into: what of it is not taken over, `; ` between, or empty.
    public static let annotation = "catbird.dev/not-taken-over"

    /// Calico's Deployments whose work is done by Catbird's own programs.
    private static let needless = [
        "calico-kube-controllers": "Catbird's controllers look after addresses and nodes",
        "calico-typha": "the agents watch the API themselves",
    ]

    private let client: KubeClient
    private let addons: Addons
    private let log: Logger

    /// - Parameter client: its user agent names the owner of what is put in place: `catbird-…`, not the addons' own.
    public init(client: KubeClient, addons: Addons, log: Logger) {
        self.client = client
        self.addons = addons
        self.log = log
    }

    /// Follows the workloads until cancelled.
    public func run() async {
        let recorder = EventRecorder(client, component: "catbird")
        let agents = Informer(
            client, .daemonSets, namespace: "kube-system", fieldSelector: "metadata.name=calico-node")
        let others = Informer(client, .deployments, namespace: "kube-system")
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await agents.run() }
            group.addTask { await others.run() }
            group.addTask {
                for await batch in agents.events() {
                    guard let event = batch.last, !event.isDeletion, let own = try? addons.agentPod(),
                        let objection = Self.objection(to: event.object["spec"]["template"]["spec"] ?? [:], own: own)
                    else { continue }
                    await putBack(event.object, own, objection, recorder)
                }
            }
            group.addTask {
                for await batch in others.events() {
                    for event in batch where !event.isDeletion { await rest(event.object, recorder) }
                }
            }
        }
    }

    /// Why a pod would not do here.
    enum Objection: Hashable, CustomStringConvertible {
        /// The image is another's, Calico's or whoever's.
        case image(String)
        case variable(String, found: String?, wanted: String?)

        var description: String {
            switch self {
            case .image(let image): "its image \(image) is not Catbird's agent, which does the same work here"
            case .variable(let name, let found, let wanted):
                "\(name) is \(found ?? "not set"), which cannot be reached before the agent runs: it is "
                    + "\(wanted ?? "") here"
            }
        }
    }

    /// Why a pod of this specification would not do here; nil when it would.
    static func objection(to spec: JSON, own: JSON) -> Objection? {
        func variable(_ name: String, _ spec: JSON) -> String? {
            spec["containers"][0]["env"].array?.first { $0["name"].string == name }?["value"].string
        }
        let image = spec["containers"][0]["image"].string ?? ""
        if image != own["containers"][0]["image"].string { return .image(image) }
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            let (found, wanted) = (variable(name, spec), variable(name, own))
            if found != wanted { return .variable(name, found: found, wanted: wanted) }
        }
        return nil
    }

    private func putBack(
        _ object: KubeObject, _ own: JSON, _ objection: Objection, _ recorder: EventRecorder
    ) async {
        var takeover: Takeover?
        do {
            if case .image = objection { takeover = try await settle(object) }
            let made = try await replacePod(of: object, by: own, takeover)
            var message = "Catbird's agent runs in its place: \(objection)."
            if let takeover {
                if !takeover.taken.isEmpty { message += " Taken over: \(takeover.taken.joined(separator: ", "))." }
                if !takeover.left.isEmpty { message += " Not taken over: \(takeover.left.joined(separator: "; "))." }
            }
            log.warning("DaemonSet kube-system/calico-node: \(message)")
            recorder.record(made, type: .warning, reason: "AgentPutBack", message: message)
        } catch {
            // A conflict is somebody else's write, which comes as an event of its own.
            log.info("DaemonSet kube-system/calico-node is not put back yet: \(error)")
        }
    }

    /// Its controller writes the object's status at the same time: what was taken over counts for as long as nobody has
    /// written another pod.
    private func replacePod(of object: KubeObject, by own: JSON, _ takeover: Takeover?) async throws -> KubeObject {
        var current = object
        while true {
            var json = current.json
            json["spec"]["template"]["spec"] = Self.pod(own, with: takeover?.environment ?? [:])
            if let takeover {
                json["metadata"]["annotations"][Self.annotation] = JSON(takeover.left.joined(separator: "; "))
            }
            do { return try await client.update(.daemonSets, KubeObject(json)) } catch let error as APIError
                where error.isConflict
            {
                current = try await client.get(.daemonSets, object.name, in: object.namespace)
                guard current["spec"]["template"]["spec"] == object["spec"]["template"]["spec"] else { throw error }
            }
        }
    }

    /// The agent's pod with variables beside its own.
    private static func pod(_ own: JSON, with environment: [String: String]) -> JSON {
        var containers = own["containers"].array ?? []
        guard !containers.isEmpty else { return own }
        let variables: [JSON] = environment.sorted { $0.key < $1.key }.map {
            ["name": JSON($0.key), "value": JSON($0.value)]
        }
        containers[0]["env"] = .array((containers[0]["env"].array ?? []) + variables)
        var pod = own
        pod["containers"] = .array(containers)
        return pod
    }

    /// Reads what the foreign DaemonSet sets, and brings the pool to it.
    private func settle(_ object: KubeObject) async throws -> Takeover {
        let pod = object["spec"]["template"]["spec"] ?? [:]
        var maps: [String: KubeObject] = [:]
        for name in CalicoSettings.configMaps(of: pod) {
            maps[name] = try await client.find(.configMaps, name, in: object.namespace)
        }
        let pools = try await client.list(.ipPools).items
        let takeover = Takeover(
            CalicoSettings(pod: pod, configMaps: maps), pools: pools, podCIDR: addons.podCIDR)
        if let pool = takeover.newPool { try await client.create(.ipPools, pool) }
        if !takeover.poolChange.isEmpty {
            let fields = takeover.poolChange.map { ($0.key, Takeover.json($0.key, $0.value)) }
            try await client.patch(
                .ipPools, Addons.defaultPool, type: .merge, ["spec": .object(JSONObject(fields))])
        }
        return takeover
    }

    /// Puts a Deployment of Calico's to rest whose work is done already.
    private func rest(_ object: KubeObject, _ recorder: EventRecorder) async {
        guard let reason = Self.needless[object.name], (object["spec"]["replicas"].int ?? 1) > 0,
            let image = object["spec"]["template"]["spec"]["containers"][0]["image"].string, image.contains("calico/")
        else { return }
        do {
            let made = try await client.patch(
                .deployments, object.name, in: object.namespace, type: .merge, ["spec": ["replicas": 0]])
            let message = "Not run, scaled to 0: \(reason)."
            log.warning("Deployment kube-system/\(object.name): \(message)")
            recorder.record(made, type: .normal, reason: "NotNeeded", message: message)
        } catch { log.info("Deployment kube-system/\(object.name) is not put to rest yet: \(error)") }
    }
}
