// SPDX-License-Identifier: Apache-2.0

import Sessions
import Glibc
import KubeClient
import KubeObjects
import Linux
import Values

extension Session {
    /// `node diags`: what the machine it runs on says of its network, in an archive.
    func nodeDiagnostics() async throws {
        guard geteuid() == 0 else { throw Failure("calicoctl node diags reads the kernel's tables: run it as root") }
        output("Collecting diagnostics\n")
        let folder = try DiagnosticsFolder("diags-\(DiagnosticsFolder.stamp())", in: "/tmp")
        output("Using temp dir: /tmp\n")
        let commands: [(words: String, file: String, program: String, arguments: [String])] = [
            ("date", "date", "date", []), ("hostname", "hostname", "hostname", []),
            ("kernel", "uname", "uname", ["-a"]), ("sockets", "netstat", "netstat", ["-a", "-n"]),
            ("routes (IPv4)", "ipv4_route", "ip", ["-4", "route", "show", "table", "all"]),
            ("routes (IPv6)", "ipv6_route", "ip", ["-6", "route", "show", "table", "all"]),
            ("addresses (IPv4)", "ipv4_addr", "ip", ["-4", "addr"]),
            ("addresses (IPv6)", "ipv6_addr", "ip", ["-6", "addr"]),
            ("rules (IPv4)", "ipv4_rule", "ip", ["-4", "rule"]), ("rules (IPv6)", "ipv6_rule", "ip", ["-6", "rule"]),
            ("links", "ip_link", "ip", ["-d", "link"]), ("neighbours", "ip_neigh", "ip", ["neigh"]),
            ("forwarding entries", "bridge_fdb", "bridge", ["fdb"]), ("nftables", "nft", "nft", ["list", "ruleset"]),
            ("kernel modules", "lsmod", "lsmod", []), ("processes", "ps", "ps", ["-ef"]),
        ]
        for (words, file, program, arguments) in commands {
            output("Dumping \(words)\n")
            try await folder.collect(file, program, arguments)
        }
        if Files.exists(BIRDControl.usualPath) {
            for (file, command) in [("bird_protocols", "show protocols all"), ("bird_routes", "show route all")] {
                output("Dumping BIRD (\(command))\n")
                try await folder.collect(
                    file, "birdcl", ["-s", BIRDControl.usualPath] + command.split(separator: " ").map(String.init))
            }
        }
        let logs = arguments.value("log-dir") ?? "/var/log/calico"
        if Files.exists(logs) {
            output("Copying Calico logs\n")
            try await folder.collect(
                "logs.txt", "find", [logs, "-type", "f", "-exec", "tail", "-n", "1000", "{}", "+"])
        } else {
            output("No logs found in \(logs); 'catbird logs' and 'kubectl logs' have those of Catbird's clusters\n")
        }
        let archive = try await folder.pack(into: nil, keep: false)
        output("\nDiags saved to \(archive)\n")
    }

    /// `node checksystem`: whether the kernel can do what the agent needs.
    func checkSystem() async throws {
        let features: KernelFeatures
        do { features = try await OwnThread.run(awaiting: { try KernelFeatures.probe() }) } catch {
            throw Failure("The kernel cannot be tried, which needs root: \(error)")
        }
        output("Checking kernel features...\n")
        // What only runtimes and clusters of Catbird's need, bridges and overlays, is not the agent's to ask for.
        let needed: [KernelFeatures.Feature] = [.veth, .vxlan, .nftables, .ipip]
        for feature in needed {
            // Without IP in IP the agent carries its pools by VXLAN.
            let missing = feature == .ipip ? "not there, VXLAN is used in its place" : "MISSING"
            let name = feature.rawValue
            let space = String(repeating: " ", count: max(1, 20 - name.count))
            output("\t\t\(name)\(space)\(features.has(feature) ? "OK" : missing)\n")
        }
        let lacking = needed.filter { $0 != .ipip && !features.has($0) }
        guard lacking.isEmpty else {
            let reasons = lacking.map { "\($0.rawValue): \(features.reasons[$0] ?? "missing")" }
            throw Failure(
                "System doesn't meet minimum system requirements to run Calico: \(reasons.joined(separator: "; "))")
        }
        output("System meets minimum system requirements to run Calico!\n")
    }

    /// `cluster diags`: what kubectl says of the cluster and of its calico-node pods, in an archive in this folder.
    func clusterDiagnostics() async throws {
        let perNode = try number("max-logs", 0...1000) ?? 5
        let parallel = try number("max-parallelism", 1...100) ?? 10
        let focus = Set((arguments.value("focus-nodes") ?? "").split(separator: ",").map(String.init))
        let since = arguments.value("since").map { ["--since=\($0)"] } ?? []
        let context = (arguments.value("context") ?? arguments.value("profile")).map { ["--context", $0] } ?? []
        let kubeconfig = arguments.value("kubeconfig").map { ["--kubeconfig", $0] } ?? []
        let pods = try await client().list(.pods, in: "kube-system", labelSelector: "k8s-app=calico-node").items
        let folder = try DiagnosticsFolder("calico-diagnostics-\(DiagnosticsFolder.stamp())", in: "/tmp")
        var jobs: [(file: String, arguments: [String])] = [
            ("cluster/version.txt", ["version"]), ("cluster/nodes.txt", ["get", "nodes", "-o", "wide"]),
            ("cluster/nodes.yaml", ["get", "nodes", "-o", "yaml"]),
            ("cluster/pods.txt", ["get", "pods", "-A", "-o", "wide"]),
            ("cluster/events.txt", ["get", "events", "-A"]),
            ("cluster/services.txt", ["get", "svc,ep", "-A", "-o", "wide"]),
            ("cluster/workloads.txt", ["get", "deploy,ds", "-A", "-o", "wide"]),
            ("cluster/calico-node.txt", ["describe", "pods", "-n", "kube-system", "-l", "k8s-app=calico-node"]),
        ]
        for resource in [
            "ippools", "ipamblocks", "blockaffinities", "ipamhandles", "ipamconfigs", "ipreservations", "bgppeers",
            "bgpconfigurations", "bgpfilters", "felixconfigurations", "clusterinformations",
        ] {
            jobs.append(
                ("calico/\(resource).yaml", ["get", "\(resource).crd.projectcalico.org", "-o", "yaml"]))
        }
        let inFocus = pods.filter { focus.isEmpty || focus.contains($0["spec"]["nodeName"].string ?? "") }
        // The nodes in focus first, then others up to the number that was asked for.
        let rest = pods.filter { pod in !inFocus.contains { $0.name == pod.name } }
        for pod in (inFocus + rest).prefix(max(perNode, focus.isEmpty ? 0 : inFocus.count)) {
            let node = pod["spec"]["nodeName"].string ?? pod.name
            jobs.append(("logs/\(node).txt", ["logs", "-n", "kube-system", pod.name] + since))
        }
        output("Collecting cluster diagnostics: \(jobs.count) outputs of kubectl\n")
        var failed: [String] = []
        try await withThrowingTaskGroup(of: (String, Bool).self) { group in
            var next = jobs.makeIterator()
            func start() {
                guard let job = next.next() else { return }
                group.addTask {
                    let done = try await folder.collect(job.file, "kubectl", context + kubeconfig + job.arguments)
                    return (job.file, done)
                }
            }
            for _ in 0..<parallel { start() }
            for try await (file, done) in group {
                if !done { failed.append(file) }
                start()
            }
        }
        let archive = try await folder.pack(into: ".", keep: arguments.flag("skip-temp-dir-cleanup"))
        if !failed.isEmpty {
            output("\(failed.count) outputs tell of an error: \(failed.sorted().joined(separator: ", "))\n")
        }
        output("Diagnostic bundle: \(archive)\n")
        if failed.count == jobs.count {
            throw Failure("kubectl answered nothing: is it installed, and the cluster up?")
        }
    }
}
