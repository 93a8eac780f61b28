// SPDX-License-Identifier: Apache-2.0

/// Flags of minikube that have no meaning here: accepted, so that scripts go on working, with one line that says what is
/// done instead. Those that have a meaning are options of the commands themselves.
enum IgnoredFlags {
    struct Entry {
        /// Whether a value follows.
        let takesValue: Bool
        /// What is done instead. Nil for what has to do with minikube's log files only: nothing is said of these.
        let remark: String?
    }

    /// What minikube's every command takes.
    static let everywhere: [String: Entry] = {
        let options = [
            "--alsologtostderrthreshold", "--bootstrapper", "-b", "--log_backtrace_at", "--log_dir", "--log_file",
            "--log_file_max_size", "--stderrthreshold", "--user", "-v", "--v", "--vmodule",
        ]
        let flags = [
            "--add_dir_header", "--alsologtostderr", "--legacy_stderr_threshold_behavior", "--logtostderr",
            "--one_output", "--rootless", "--skip-audit", "--skip_headers", "--skip_log_headers",
        ]
        return table([], options, nil) + table(flags, [], nil)
    }()

    /// What each command takes besides: by its first word, or its first two.
    static let ofCommand: [String: [String: Entry]] = [
        "start": ofStart,
        "stop": table(["--keep-context-active"], [], "ignored; kubectl's context stays as it is.")
            + table(["--cancel-scheduled"], [], "ignored; no stop is ever scheduled.")
            + table([], ["-o", "--output"], "ignored; what is done is told as text."),
        "delete": table([], ["-o", "--output"], "ignored; what is done is told as text."),
        "service": table([], ["--interval", "--wait"], "ignored; addresses are there when the Service is."),
        "image load": table(
            ["--daemon", "--remote", "--overwrite", "--pull"], [], "ignored; images come from the archives named."),
        "node add": table(["--worker"], [], "every further node is a worker.")
            + table(["--delete-on-failure"], [], "ignored; a node that fails is left to be looked at."),
        "node start": table(["--delete-on-failure"], [], "ignored; a node that fails is left to be looked at."),
        "profile list": table(["-d", "--detailed"], [], "ignored; with -o json all there is to tell is told."),
        "kubectl": table(["--ssh"], [], "ignored; kubectl runs on this machine."),
        "ssh": table(["--native-ssh"], [], nil),
        "version": table(["--components"], [], "ignored; Catbird's parts have one version."),
        "logs": table(["--audit"], [], "ignored; no audit of the command line is kept.")
            + table(["--last-start-only"], [], "ignored; the last lines are those of the last start."),
    ]

    private static let ofStart: [String: Entry] = {
        let components = "ignored; the cluster configures its components."
        let image = "ignored; nodes have no image, and nothing is downloaded."
        let ranges = "ignored; ranges are chosen against those the machine uses already."
        let driver = "nodes are network namespaces of this machine; no driver is needed."
        let machine = "ignored; nodes are no virtual machines."
        let mount = "ignored; hostPath volumes are the node's own. To copy files: catbird cp SOURCE NODE:/PATH"
        let docker = "ignored; there is no docker daemon."
        let groups: [[String: Entry]] = [
            table([], ["--addons"], "no addons are available yet; none was enabled."),
            table(["--install-addons"], [], "there are none to install."),
            table([], ["--network-plugin"], "the network is always CNI."),
            table(["--enable-default-cni"], [], "the network is always CNI."),
            table([], ["--kubernetes-version"], "the API served is \(Version.kubernetes)."),
            table([], ["--container-runtime", "-c"], "containers run with crun."),
            table(["--force-systemd"], [], "ignored; containers' groups are made without systemd."),
            table([], ["--ports"], "ignored; node ports answer at each node's own address."),
            table(["--embed-certs"], [], "certificates are always in the kubeconfig."),
            table(["--interactive"], [], "nothing is ever asked."),
            table(["--force"], [], "nothing is refused that it could force."),
            table(["--delete-on-failure"], [], "what a failed first start has made is always removed."),
            table([], ["--driver", "-d", "--vm-driver"], driver),
            table(["--auto-update-drivers", "--vm"], [], driver),
            table(
                [], ["--memory", "-m", "--cpus", "--disk-size", "--extra-disks"],
                "nodes share this machine; nothing is set aside for them."),
            table([], ["--gpus", "-g"], "ignored; pods get no devices of the machine but those they mount."),
            table(
                [],
                [
                    "--extra-config", "--feature-gates", "--apiserver-port", "--apiserver-name", "--apiserver-names",
                    "--apiserver-ips", "--dns-domain", "--cri-socket", "--cert-expiration",
                ], components),
            table(["--disable-optimizations", "--disable-coredns-log"], [], components),
            table(["--disable-metrics"], [], "ignored; metrics are read when somebody asks for them."),
            table(
                [], ["--registry-mirror", "--image-repository", "--image-mirror-country"],
                "ignored; mirrors stand in /etc/catbird/registries.json."),
            table([], ["--docker-opt"], docker),
            table([], ["--base-image", "--iso-url", "--binary-mirror", "--preload-source"], image),
            table(["--preload", "--cache-images"], [], image),
            table(
                [],
                ["--subnet", "--static-ip", "--network", "--listen-address", "--service-cluster-ip-range"], ranges),
            table(["--ha", "--no-kubernetes"], [], "ignored; a cluster has one control plane, and always has it."),
            table(["--mount", "--disable-driver-mounts"], [], mount),
            table(
                [],
                [
                    "--mount-string", "--mount-9p-version", "--mount-gid", "--mount-ip", "--mount-msize",
                    "--mount-options", "--mount-port", "--mount-type", "--mount-uid", "--nfs-share",
                    "--nfs-shares-root",
                ], mount),
            table([], ["--auto-pause-interval"], "ignored; a cluster is never paused."),
            table([], ["--trace"], "ignored; nothing is sent anywhere."),
            table(["--native-ssh"], [], "ignored; nodes have no SSH server."),
            table(
                [], ["--ssh-ip-address", "--ssh-key", "--ssh-port", "--ssh-user"], "ignored; nodes have no SSH server."),
            table(
                [
                    "--dns-proxy", "--host-dns-resolver", "--hyperv-use-external-switch", "--kvm-gpu", "--kvm-hidden",
                    "--mdns", "--no-vtx-check", "--rosetta", "--vmnet-offloading",
                ], [], machine),
            table(
                [],
                [
                    "--dns-servers", "--host-only-cidr", "--host-only-nic-type", "--hyperkit-vpnkit-sock",
                    "--hyperkit-vsock-ports", "--hyperv-external-adapter", "--hyperv-virtual-switch", "--kvm-network",
                    "--kvm-numa-count", "--kvm-qemu-uri", "--nat-nic-type", "--qemu-firmware-path",
                    "--socket-vmnet-client-path", "--socket-vmnet-path", "--uuid",
                ], machine),
        ]
        return groups.reduce([:], +)
    }()

    private static func table(_ flags: [String], _ options: [String], _ remark: String?) -> [String: Entry] {
        let all = flags.map { ($0, false) } + options.map { ($0, true) }
        return Dictionary(
            all.map { ($0.0, Entry(takesValue: $0.1, remark: remark)) }, uniquingKeysWith: { first, _ in first })
    }

    /// What a command, given by its first words, ignores under this name.
    static func entry(_ name: String, of command: [String]) -> Entry? {
        for length in [2, 1] where command.count >= length {
            if let entry = ofCommand[command[..<length].joined(separator: " ")]?[name] { return entry }
        }
        return everywhere[name]
    }
}

private func + (
    left: [String: IgnoredFlags.Entry], right: [String: IgnoredFlags.Entry]
) -> [String: IgnoredFlags.Entry] { left.merging(right) { first, _ in first } }
