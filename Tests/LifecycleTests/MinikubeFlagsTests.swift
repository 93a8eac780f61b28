// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

extension LifecycleTests {
    /// Every flag of minikube's reference pages is taken: `=` stands behind those that have a value.
    @Suite(.enabled(if: geteuid() == 0)) struct MinikubeFlagsTests {
        private static let ofEveryCommand = """
            --add_dir_header --alsologtostderr --alsologtostderrthreshold=2 --bootstrapper=kubeadm -b=kubeadm
            --legacy_stderr_threshold_behavior --log_backtrace_at=:0 --log_dir=/tmp --log_file=/tmp/x
            --log_file_max_size=1800 --logtostderr --one_output --rootless --skip-audit --skip_headers --skip_log_headers
            --stderrthreshold=2 --user=me -v=5 --v=5 --vmodule=a=1
            """
        /// Those about which something is said.
        private static let ofStart = """
            --addons=ingress --apiserver-ips=1.2.3.4 --apiserver-name=x --apiserver-names=x --apiserver-port=8443
            --auto-pause-interval=1m0s --auto-update-drivers --base-image=x --binary-mirror=x --cache-images
            --cert-expiration=26280h --container-runtime=docker -c=docker --cpus=2 --cri-socket=x --delete-on-failure
            --disable-coredns-log --disable-driver-mounts --disable-metrics --disable-optimizations --disk-size=20g
            --dns-domain=cluster.local --dns-proxy --dns-servers=1.1.1.1 --docker-opt=x --driver=docker -d=docker
            --embed-certs --enable-default-cni --extra-config=kubelet.x=y --extra-disks=1 --feature-gates=A=true --force
            --force-systemd --gpus=all -g=all --ha --host-dns-resolver --host-only-cidr=192.168.59.1/24
            --host-only-nic-type=virtio --hyperkit-vpnkit-sock=x --hyperkit-vsock-ports=1 --hyperv-external-adapter=x
            --hyperv-use-external-switch --hyperv-virtual-switch=x --image-mirror-country=cn --image-repository=auto
            --install-addons --interactive --iso-url=x --kubernetes-version=v1.24.0 --kvm-gpu --kvm-hidden
            --kvm-network=default --kvm-numa-count=1 --kvm-qemu-uri=x --listen-address=0.0.0.0 --mdns --memory=4g -m=4g
            --mount --mount-9p-version=x --mount-gid=docker --mount-ip=x --mount-msize=262144 --mount-options=x
            --mount-port=0 --mount-string=/a:/b --mount-type=9p --mount-uid=docker --nat-nic-type=virtio --native-ssh
            --network=x --network-plugin=cni --nfs-share=x --nfs-shares-root=/nfs --no-kubernetes --no-vtx-check
            --ports=80:80 --preload --preload-source=auto --qemu-firmware-path=x --registry-mirror=x --rosetta
            --service-cluster-ip-range=10.96.0.0/12 --socket-vmnet-client-path=x --socket-vmnet-path=x
            --ssh-ip-address=1.2.3.4 --ssh-key=x --ssh-port=22 --ssh-user=root --static-ip=192.168.49.2
            --subnet=192.168.49.0/24 --trace=gcp --uuid=x --vm --vm-driver=docker --vmnet-offloading
            """
        /// Those that are acted upon.
        private static let honoured = """
            --cni=calico --docker-env=A=b --dry-run --insecure-registry=10.0.0.0/8 --keep-context --namespace=apps
            --nodes=2 -n=2 -n2 --output=text -o=text --profile=other -p=other --wait=all --wait=none --wait-timeout=6m0s
            """

        private static func flags(_ text: String) -> [String] {
            text.split(whereSeparator: \.isWhitespace).map(String.init)
        }

        /// The ways in which one flag may be typed.
        private static func spellings(_ flag: String) -> [[String]] {
            guard let equals = flag.firstIndex(of: "=") else {
                return flag.hasPrefix("--") ? [[flag], ["\(flag)=true"]] : [[flag]]
            }
            return [[flag], [String(flag[..<equals]), String(flag[flag.index(after: equals)...])]]
        }

        private func withCommandLine(_ body: (CommandLine) async throws -> Void) async throws {
            let line = try CommandLine()
            defer { line.remove() }
            try await body(line)
        }

        @Test(arguments: flags(ofStart)) func startSaysWhatAFlagMeansHere(flag: String) async throws {
            try await withCommandLine { line in
                for words in Self.spellings(flag) {
                    let output = try await line.run(["start", "--dry-run"] + words + ["--nodes", "2"])
                    #expect(output.status == .exited(0), "\(words): \(output.errorText)")
                    #expect(output.text.contains("\(words[0].prefix { $0 != "=" })"), "\(words): \(output.text)")
                    #expect(output.text.split(separator: "\n").count == 3, "\(words): \(output.text)")
                    // The flag has not swallowed what follows it.
                    #expect(output.text.contains("would be created: 2 node(s)"), "\(words): \(output.text)")
                }
            }
        }

        @Test(arguments: flags(honoured) + flags(ofEveryCommand)) func noFlagEndsAStart(flag: String) async throws {
            try await withCommandLine { line in
                for words in Self.spellings(flag) {
                    let output = try await line.run(["start", "--dry-run"] + words)
                    #expect(output.status == .exited(0), "\(words): \(output.errorText)")
                    #expect(output.text.contains("would be created"), "\(words): \(output.text)")
                }
                #expect(try Files.list("\(line.folder)/state").isEmpty)
            }
        }

        @Test func allAtOnceAndBeforeTheCommand() async throws {
            try await withCommandLine { line in
                let words = Self.flags(Self.ofStart + " " + Self.ofEveryCommand)
                let output = try await line.run(["-v=5", "-p", "lab", "start", "--dry-run"] + words)
                #expect(output.status == .exited(0), "\(output.errorText)")
                #expect(output.text.contains("\"lab\" would be created"))
                let nothing = try await line.run(["start", "--download-only", "-p", "lab"])
                #expect(nothing.status == .exited(0) && nothing.text.contains("Nothing was done"))
                #expect(try Files.list("\(line.folder)/state").isEmpty)
            }
        }

        /// Their other commands: each is parsed, and fails for the cluster that is not there, not for a flag.
        @Test(arguments: [
            "stop --keep-context-active --cancel-scheduled -o json", "stop --output=json",
            "delete -o json", "delete --output=json", "service web --interval 1 --wait=2 --https --url -n default",
            "service web --format=http://{{.IP}}:{{.Port}}", "service --all", "service list -n x -o json",
            "node add --worker --delete-on-failure --control-plane=false", "node start m02 --delete-on-failure",
            "ssh -n m02 -- ls", "ssh --native-ssh=false -- ls", "ip -n m02", "logs --audit -f",
            "logs --last-start-only --problems",
            "logs --node m02 -n 10", "logs --length=10 --file=/tmp/x", "status -f x -l nodes -n m02 -o json",
            "status -w 1s",
            "kubectl --ssh -- get pods", "cp /etc/hostname m02:/x", "tunnel --cleanup --bind-address=127.0.0.1",
            "update-context", "node stop m02 -v 5", "node delete m02 --alsologtostderr",
        ]) func otherCommandsTakeTheirFlags(text: String) async throws {
            try await withCommandLine { line in
                let words = text.split(separator: " ").map(String.init)
                let output = try await line.run([words[0]] + ["-p", "none"] + words.dropFirst())
                #expect([.exited(0), .exited(85)].contains(output.status), "\(output.text)\(output.errorText)")
                #expect((output.text + output.errorText).contains("\"none\""), "\(output.text)\(output.errorText)")
            }
        }

        @Test(arguments: [
            "profile list -d -l -o json", "version --components --short", "image load --daemon --pull /none.tar",
            "image ls --format short",
        ]) func commandsWithoutAClusterTakeTheirFlags(text: String) async throws {
            try await withCommandLine { line in
                let output = try await line.run(text.split(separator: " ").map(String.init))
                #expect(output.status != .exited(14), "\(output.text)\(output.errorText)")
            }
        }

        @Test func whatWouldDoSomethingElseIsRefused() async throws {
            try await withCommandLine { line in
                let stop = try await line.run(["stop", "--schedule", "5m", "-p", "none"])
                #expect(stop.status == .exited(14) && stop.errorText.contains("nothing was stopped"))
                let wait = try await line.run(["start", "--dry-run", "--wait-timeout", "soon"])
                #expect(wait.status == .exited(14) && wait.errorText.contains("6m0s"))
            }
        }
    }
}
