// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Values

/// From a pod's spec to what the runtime wants to know.
extension PodWorker {
    func environmentSources() -> EnvironmentSources {
        var sources = EnvironmentSources()
        sources.hostIP = context.configuration.nodeIP.description
        sources.podIPs = pod.hostNetwork ? [sources.hostIP] : podIPs
        sources.allocatable = context.machine.allocatable
        return sources
    }

    func containerSpec(
        _ view: ContainerView, image: LocalImage, attempt: Int, sandbox: Sandbox
    ) async throws -> ContainerSpec {
        var sources = environmentSources()
        await context.services.waitUntilSynced()
        sources.services = context.services.all()
        let objects = try await context.objects.objects(VolumePayload.references(of: pod))
        for (reference, object) in objects {
            if reference.resource == .configMaps { sources.configMaps[reference.key.name] = object }
            if reference.resource == .secrets { sources.secrets[reference.key.name] = object }
        }
        let variables = try ContainerEnvironment.compute(view, of: pod, sources: sources)
        func expand(_ text: String) -> String {
            VariableExpansion.expand(text) { name in variables.last { $0.0 == name }?.1 }
        }
        var spec = ContainerSpec(
            sandboxID: sandbox.id, name: view.name, attempt: attempt, image: image,
            command: view.command.map(expand), args: view.arguments.map(expand),
            environment: variables.map { (name: $0.0, value: $0.1) })
        spec.workingDirectory = view.json["workingDir"].string.flatMap { $0.isEmpty ? nil : $0 }
        spec.mounts = try context.volumes.mounts(
            of: view, in: uid, paths: volumePaths, volumes: pod.spec["volumes"].array ?? [], variables: variables
        )
        spec.mounts += hostFileMounts(view)
        spec.logPath = context.configuration.logPath(pod, container: view.name, attempt: attempt)
        spec.stdin = view.stdin
        spec.stdinOnce = view.stdinOnce
        spec.tty = view.tty
        spec.security = ContainerSecurity(of: view, in: pod)
        let qos = QoSClass(of: pod)
        let limits = view.json["resources"]["limits"]
        let requests = view.json["resources"]["requests"]
        spec.resources = .kubernetes(
            cpuRequestMilli: requests["cpu"].flatMap(ResourceAmount.milli).map { Int($0) },
            cpuLimitMilli: limits["cpu"].flatMap(ResourceAmount.milli).map { Int($0) },
            memoryLimitBytes: limits["memory"].flatMap(ResourceAmount.value).map { Int($0) })
        spec.oomScoreAdjustment = OOMScore.adjustment(of: view, qos: qos, nodeMemory: context.machine.memoryBytes)
        spec.terminationMessagePath = view.terminationMessagePath
        if let target = view.target, pod.spec["shareProcessNamespace"].bool != true {
            guard let id = runningContainer(target) else {
                throw RuntimeError(.invalid, "the target container \(target) is not running")
            }
            spec.processesOf = id
        }
        spec.labels = [
            ContainerLabels.podUID: uid, ContainerLabels.podName: pod.name,
            ContainerLabels.podNamespace: pod.namespace, ContainerLabels.container: view.name,
        ]
        return spec
    }

    /// The mounts of /etc/hosts, /etc/resolv.conf and /etc/hostname, unless the container brings its own.
    private func hostFileMounts(_ view: ContainerView) -> [Mount] {
        let own = Set(view.json["volumeMounts"].array?.compactMap { $0["mountPath"].string } ?? [])
        let directory = context.configuration.podDirectory(uid)
        return [("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")]
            .filter { !own.contains($0.1) }
            .map { Mount(source: "\(directory)/\($0.0)", destination: $0.1) }
    }

    func sandboxSpec(_ attempt: Int) -> SandboxSpec {
        var ports: [PortMapping] = []
        if !pod.hostNetwork {
            for port in pod.containers.flatMap({ $0.json["ports"].array ?? [] }) {
                guard let host = port["hostPort"].int, host > 0, let inside = port["containerPort"].int else {
                    continue
                }
                ports.append(
                    PortMapping(
                        hostPort: host, containerPort: inside,
                        transport: (port["protocol"].string ?? "TCP").lowercased(),
                        hostIP: port["hostIP"].string))
            }
        }
        var sysctls: [String: String] = [:]
        for entry in pod.spec["securityContext"]["sysctls"].array ?? [] {
            if let name = entry["name"].string { sysctls[Sysctls.dotted(name)] = entry["value"].string ?? "" }
        }
        return SandboxSpec(
            id: "\(uid)-\(attempt)", podNamespace: pod.namespace, podName: pod.name, podUID: uid,
            attempt: attempt, hostname: hostname, hostNetwork: pod.hostNetwork,
            hostPID: pod.spec["hostPID"].bool ?? false, hostIPC: pod.spec["hostIPC"].bool ?? false,
            shareProcessNamespace: pod.spec["shareProcessNamespace"].bool ?? false, sysctls: sysctls,
            portMappings: ports,
            cgroupParent: context.cgroups.path(of: pod),
            logDirectory: context.configuration.logDirectory(pod), annotations: pod.object.annotations,
            labels: [ContainerLabels.podUID: uid])
    }

    var hostname: String {
        if pod.hostNetwork { return context.machine.hostname }
        if pod.spec["setHostnameAsFQDN"].bool == true,
            let domain = HostsFile.domain(of: pod, clusterDomain: context.configuration.clusterDomain)
        {
            return "\(pod.hostname).\(domain)"
        }
        return pod.hostname
    }

    /// Writes the files that all containers of the pod share.
    func writeHostFiles(podIPs: [String]) throws {
        let configuration = context.configuration
        let directory = configuration.podDirectory(uid)
        try NodeFiles.makeDirectory(directory, mode: 0o750)
        let hosts = HostsFile.text(
            of: pod, podIPs: podIPs, hostname: pod.hostname,
            domain: HostsFile.domain(of: pod, clusterDomain: configuration.clusterDomain),
            nodeHosts: NodeFiles.text("/etc/hosts") ?? "127.0.0.1\tlocalhost\n")
        try NodeFiles.write(Array(hosts.utf8), to: directory + "/etc-hosts")
        let resolver = ResolverConfiguration.forPod(
            pod, clusterDNS: configuration.clusterDNS.map(\.description), clusterDomain: configuration.clusterDomain,
            host: ResolverConfiguration(parsing: NodeFiles.text(configuration.resolvConfPath) ?? ""))
        try NodeFiles.write(Array(resolver.text.utf8), to: directory + "/resolv.conf")
        try NodeFiles.write(Array((hostname + "\n").utf8), to: directory + "/hostname")
    }
}

extension ContainerSecurity {
    /// A container's security context over its pod's.
    init(of view: ContainerView, in pod: PodView) {
        let own = view.json["securityContext"]
        let shared = pod.spec["securityContext"]
        func either(_ key: String) -> JSON? {
            if let value = own[key], !value.isNull { return value }
            return shared[key]
        }
        let names: (JSON?) -> [String] = { $0.array?.compactMap(\.string) ?? [] }
        let privileged = own["privileged"].bool ?? false
        let seccomp: SeccompProfile
        switch either("seccompProfile")["type"].string {
        case "Unconfined": seccomp = .unconfined
        case "Localhost":
            seccomp = .localhost(
                path: "/var/lib/kubelet/seccomp/\(either("seccompProfile")["localhostProfile"].string ?? "")")
        case "RuntimeDefault": seccomp = .runtimeDefault
        default: seccomp = privileged ? .unconfined : .runtimeDefault
        }
        let fsGroup = shared["fsGroup"].int
        self.init(
            runAsUser: either("runAsUser").int, runAsGroup: either("runAsGroup").int,
            supplementalGroups: (shared["supplementalGroups"].array?.compactMap(\.int) ?? [])
                + (fsGroup.map { [$0] } ?? []),
            fsGroup: fsGroup, runAsNonRoot: either("runAsNonRoot").bool ?? false,
            addCapabilities: names(own["capabilities"]["add"]), dropCapabilities: names(own["capabilities"]["drop"]),
            privileged: privileged, readOnlyRootFilesystem: own["readOnlyRootFilesystem"].bool ?? false,
            noNewPrivileges: own["allowPrivilegeEscalation"].bool == false, seccomp: seccomp,
            unmaskedProc: own["procMount"].string == "Unmasked")
    }
}
