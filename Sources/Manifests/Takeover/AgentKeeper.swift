// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Values

/// Keeps the DaemonSet calico-node one that can run on a local cluster, whoever applied another over it: what
/// `catbird manifests` prints for clusters elsewhere, whose agent reaches the API by a Service that only the agent
/// itself makes, or Calico's own calico.yaml, whose programs would work against the agent's tables.
struct AgentManifest: Sendable {
    let client: KubeClient
    let addons: Addons
    let log: Logger

    /// Follows the DaemonSet until cancelled.
    func run() async {
        let informer = Informer(
            client, .daemonSets, namespace: "kube-system", fieldSelector: "metadata.name=calico-node")
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            for await batch in informer.events() {
                guard let event = batch.last, !event.isDeletion, let own = try? ownPodSpec(),
                    let reason = Self.objection(to: event.object["spec"]["template"]["spec"] ?? [:], own: own)
                else { continue }
                await putBack(event.object, own, reason)
            }
            group.cancelAll()
        }
    }

    private func ownPodSpec() throws -> JSON? {
        try addons.manifests().first { $0.kind == "DaemonSet" }?["spec"]["template"]["spec"]
    }

    /// Why a pod of this specification would not do here; nil when it would.
    static func objection(to spec: JSON, own: JSON) -> String? {
        func variable(_ name: String, _ spec: JSON) -> String? {
            spec["containers"][0]["env"].array?.first { $0["name"].string == name }?["value"].string
        }
        let image = spec["containers"][0]["image"].string ?? ""
        if image != own["containers"][0]["image"].string {
            return "its image \(image) is not Catbird's agent, which does the same work here"
        }
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            let (found, wanted) = (variable(name, spec), variable(name, own))
            if found != wanted {
                return "\(name) is \(found ?? "not set"), which cannot be reached before the agent runs: it is "
                    + "\(wanted ?? "") here"
            }
        }
        return nil
    }

    private func putBack(_ object: KubeObject, _ own: JSON, _ reason: String) async {
        var json = object.json
        json["spec"]["template"]["spec"] = own
        do {
            _ = try await client.update(.daemonSets, KubeObject(json))
            log.warning("DaemonSet kube-system/calico-node is put back: \(reason)")
        } catch {
            // A conflict is somebody else's write, which comes as an event of its own.
            log.info("DaemonSet kube-system/calico-node is not put back yet: \(error)")
        }
    }
}
