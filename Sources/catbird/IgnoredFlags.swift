// SPDX-License-Identifier: Apache-2.0

/// Flags of minikube that have no meaning here: accepted, so that scripts go on working.
enum IgnoredFlags {
    /// What minikube's every command takes, for its log files. Nothing is said about them.
    static let everywhere: [String: Bool] = [
        "--add_dir_header": false, "--alsologtostderr": false, "--bootstrapper": true, "-b": true,
        "--log_backtrace_at": true,
        "--log_dir": true, "--log_file": true, "--log_file_max_size": true, "--logtostderr": false,
        "--one_output": false, "--rootless": false, "--skip-audit": false, "--skip_headers": false,
        "--skip_log_headers": false, "--stderrthreshold": true, "--user": true, "-v": true, "--v": true,
        "--vmodule": true,
    ]

    /// What each command takes besides; whether the flag is followed by a value.
    static let ofCommand: [String: [String: Bool]] = [
        "stop": ["--keep-context-active": false, "--cancel-scheduled": false, "-o": true, "--output": true],
        "delete": ["-o": true, "--output": true],
        "service": ["--interval": true, "--wait": true],
        "load": ["--daemon": false, "--remote": false, "--overwrite": false],
        "add": ["--delete-on-failure": false, "--worker": false],
        "start": ["--delete-on-failure": false],
        "ssh": ["--native-ssh": false],
    ]

    enum Meaning {
        case flag, option
    }

    /// `start`: what is done instead, with `$` for the value.
    static let ofStart: [String: (meaning: Meaning, remark: String)] = {
        let shared = "nodes share this machine; nothing is set aside for them."
        let components = "ignored; the cluster configures its components."
        let registries = "ignored; mirrors stand in /etc/catbird/registries.json."
        let image = "ignored; nodes have no image, and nothing is downloaded."
        let ranges = "ignored; ranges are chosen against those the machine uses already."
        let driver = "nodes are network namespaces of this machine; no driver is needed."
        let planes = "ignored; a cluster has one control plane."
        var table: [String: (meaning: Meaning, remark: String)] = [
            "--addons": (.option, "no addons are available yet; none was enabled."),
            "--network-plugin": (.option, "the network is always CNI."),
            "--kubernetes-version": (.option, "the API served is \(Version.kubernetes)."),
            "--container-runtime": (.option, "containers run with crun."),
            "--ports": (.option, "ignored; node ports answer at each node's own address."),
            "--mount": (.flag, "ignored; hostPath volumes are the node's own."),
            "--mount-string": (.option, "ignored; hostPath volumes are the node's own."),
            "--dry-run": (.flag, "ignored; the cluster is started."),
            "--keep-context": (.flag, "ignored; kubectl's context is changed."),
            "--embed-certs": (.flag, "certificates are always in the kubeconfig."),
            "--install-addons": (.flag, "there are none to install."),
            "--interactive": (.flag, "nothing is ever asked."),
            "--wait": (.option, "start returns when all nodes are Ready and DNS answers."),
            "--wait-timeout": (.option, "ignored; a start that makes no progress says so."),
            "--auto-update-drivers": (.flag, driver), "--preload": (.flag, image),
            "--force": (.flag, "nothing is refused that it could force."),
        ]
        for name in ["--driver", "-d", "--vm-driver"] { table[name] = (.option, driver) }
        for name in ["--memory", "--cpus", "--disk-size", "--gpus"] { table[name] = (.option, shared) }
        for name in [
            "--extra-config", "--feature-gates", "--apiserver-port", "--apiserver-name", "--apiserver-names",
            "--apiserver-ips", "--dns-domain", "--cri-socket", "--cert-expiration",
        ] { table[name] = (.option, components) }
        for name in ["--registry-mirror", "--image-repository", "--image-mirror-country"] {
            table[name] = (.option, registries)
        }
        for name in ["--base-image", "--iso-url", "--binary-mirror"] { table[name] = (.option, image) }
        for name in ["--subnet", "--static-ip", "--network", "--listen-address", "--service-cluster-ip-range"] {
            table[name] = (.option, ranges)
        }
        for name in ["--ha", "--no-kubernetes"] { table[name] = (.flag, planes) }
        return table
    }()
}
