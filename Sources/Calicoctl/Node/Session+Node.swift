// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeClient
import KubeObjects
import Linux
import NetworkModel
import Values

extension Session {
    func node() async throws {
        let command = arguments.words.dropFirst().first ?? ""
        switch command {
        case "status": try await nodeStatus()
        case "diags": try await nodeDiagnostics()
        case "checksystem": try await checkSystem()
        case "run":
            throw Failure(
                "calicoctl node run starts calico/node beside an etcd datastore. The datastore here is Kubernetes: the DaemonSet calico-node of kube-system runs the agent, and catbird agent is its program"
            )
        default:
            throw Failure(
                "Unknown command: 'node \(command)'. Available: node status, node diags, node checksystem, node run")
        }
    }

    private func nodeStatus() async throws {
        let client = try client()
        let pods = try await client.list(.pods, in: "kube-system", labelSelector: "k8s-app=calico-node").items
        let running = pods.contains { $0["status"]["phase"].string == "Running" }
        output(running ? "Calico process is running.\n" : "Calico process is not running.\n")
        guard running else {
            throw Failure("No calico-node pod is Running: see kubectl get pods -n kube-system -l k8s-app=calico-node")
        }
        let socket = arguments.value("bird-socket") ?? BIRDControl.usualPath
        guard Files.exists(socket) else {
            // Routes between nodes are programmed by the agents themselves: no BGP session is needed.
            output("\nThe BGP backend process (BIRD) is not running here: routes are programmed directly.\n")
            var isAsked = false
            for resource in ["bgppeers", "bgpconfigurations"] where !isAsked {
                let objects = try await client.list(GroupVersionResource("crd.projectcalico.org", "v1", resource))
                isAsked = !objects.items.isEmpty
            }
            guard isAsked, let pod = pods.first else { return }
            output(
                "BGP is asked for. Each node has a BIRD of its own: kubectl exec -n kube-system \(pod.name) -- calicoctl node status\n"
            )
            return
        }
        let reply: String
        do { reply = try BIRDControl.ask(socket, "show protocols") } catch {
            throw Failure("BIRD does not answer at \(socket): \(error)")
        }
        let peers = BIRDStatus(reply: reply).peers
        for family in IPFamily.allCases {
            let words = family == .v4 ? "IPv4" : "IPv6"
            output("\n\(words) BGP status\n")
            var table = FramedTable("PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO")
            for peer in peers.sorted(by: { $0.address < $1.address }) where peer.address.family == family {
                table.rows.append(["\(peer.address)", peer.kind.words, peer.state, peer.time, peer.info])
            }
            output(table.rows.isEmpty ? "No \(words) peers found.\n" : table.text)
        }
        output("\n")
    }

    func version() async throws {
        output("Client Version:    \(Calicoctl.version)\nGit commit:        catbird\n")
        guard !arguments.flag("client") else { return }
        let client = try client()
        while true {
            let information = try? await client.get(.clusterInformations, "default")
            if let spec = information?["spec"] {
                output(
                    "Cluster Version:   \(spec["calicoVersion"].string ?? "unknown")\n"
                        + "Cluster Type:      \(spec["clusterType"].string ?? "unknown")\n")
            } else {
                output("Cluster Version:   unknown\nCluster Type:      unknown\n")
            }
            guard let interval = arguments.value("poll") else {
                if information == nil {
                    throw Failure(
                        "Unable to retrieve Cluster Version or Type: ClusterInformation default was not found")
                }
                return
            }
            // Asked for by --poll.
            try await Task.sleep(for: try Self.duration(interval))
        }
    }

    /// `1m`, `30s`, `1h`: Go's durations with one unit.
    private static func duration(_ text: String) throws -> Duration {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int(text.dropLast()),
            (1...100_000).contains(number)
        else { throw Failure("invalid duration '\(text)' for --poll: write 30s, 1m or 1h") }
        return .seconds(number * unit)
    }
}
