// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Logging
import Synchronization
import Values

extension Runtime {
    /// Makes namespaces, pins them, and joins the pod to the network by the plugins of the configuration in force.
    ///
    /// When anything fails nothing is left of it.
    public func createSandbox(_ spec: SandboxSpec) async throws -> Sandbox {
        try check(spec)
        let cgroup =
            spec.cgroupParent ?? "\(configuration.cgroupParent)/pod\(spec.podUID.isEmpty ? spec.id : spec.podUID)"
        var record = SandboxRecord(
            spec: spec, phase: .creating, createdAt: .now, cgroup: cgroup,
            netnsPath: spec.hostNetwork ? nil : paths.namespace(spec.id, .net))
        try state.withLock { state throws(RuntimeError) in
            guard state.sandboxes[spec.id] == nil else {
                throw RuntimeError(.wrongState, "there is a sandbox \(spec.id) already")
            }
            state.sandboxes[spec.id] = record
        }
        do {
            // From here on a new instance knows what has to be undone.
            try save(record)
            try cgroups.create(cgroup)
            try await makeNamespaces(spec)
            if !spec.hostNetwork {
                do { record.cniResult = try await cni.add(attachment(record)) } catch {
                    throw RuntimeError(.network, "failed to setup network for sandbox \"\(spec.id)\": \(error)")
                }
                let result = try CNIResult(record.cniResult)
                record.ips = result.ips.map(\.address.address)
                guard !record.ips.isEmpty else {
                    throw RuntimeError(
                        .network, "failed to setup network for sandbox \"\(spec.id)\": the plugins gave it no address")
                }
            }
            if spec.shareProcessNamespace, !spec.hostPID { record.pauseContainer = try await startPause(record) }
            record.phase = .ready
            try save(record)
            return record.sandbox
        } catch {
            do { try await removeSandbox(spec.id) } catch let second {
                log.warning("sandbox \(spec.id): what was made of it cannot be undone yet: \(second)")
            }
            throw error
        }
    }

    private func check(_ spec: SandboxSpec) throws(RuntimeError) {
        let bytes = Array(spec.id.utf8)
        let isGood = bytes.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
        }
        guard (1...64).contains(bytes.count), isGood, bytes.first != 0x2D else {
            throw RuntimeError(.invalid, "\"\(spec.id)\" is not a sandbox's id: 1 to 64 letters, digits and '-'")
        }
        if spec.hostNetwork, let name = spec.sysctls.keys.first(where: { $0.hasPrefix("net") }) {
            throw RuntimeError(.invalid, "sysctl \(name) cannot be set for a pod on the node's own network")
        }
        for name in spec.sysctls.keys where name.contains("..") || name.hasPrefix("/") {
            throw RuntimeError(.invalid, "\"\(name)\" is not a sysctl")
        }
    }

    private func makeNamespaces(_ spec: SandboxSpec) async throws {
        try Files.makeDirectories(paths.sandbox(spec.id), mode: 0o700)
        var pins: [NamespaceKind: String] = [:]
        if !spec.hostNetwork {
            pins[.net] = paths.namespace(spec.id, .net)
            pins[.uts] = paths.namespace(spec.id, .uts)
        }
        if !spec.hostIPC { pins[.ipc] = paths.namespace(spec.id, .ipc) }
        if !pins.isEmpty {
            let wanted = pins
            try await OwnThread.run(awaiting: {
                try Namespaces.createPinned(wanted) {
                    if wanted[.uts] != nil, sethostname(spec.hostname, spec.hostname.utf8.count) != 0 {
                        throw Errno("sethostname", spec.hostname)
                    }
                    if wanted[.net] != nil {
                        try NetlinkSocket().setUp("lo")
                        // As containerd: pods bind low ports and ping without capabilities.
                        try? Sysctl.write("net.ipv4.ip_unprivileged_port_start", "0")
                        try? Sysctl.write("net.ipv4.ping_group_range", "0 2147483647")
                    }
                    for (name, value) in spec.sysctls.sorted(by: { $0.key < $1.key }) {
                        do { try Sysctl.write(name, value) } catch {
                            throw RuntimeError(.invalid, "sysctl \(name) cannot be set to \"\(value)\": \(error)")
                        }
                    }
                }
            })
        }
        if !spec.hostIPC {
            try Files.makeDirectories(paths.shm(spec.id))
            try Mounts.tmpfs(onto: paths.shm(spec.id), size: "65536k", mode: 0o1777, flags: [.noSuid, .noDev, .noExec])
        }
    }

    func attachment(_ record: SandboxRecord) -> CNIAttachment {
        let spec = record.spec
        let netns = record.netnsPath.map { Namespaces.isPinned($0) ? $0 : "" } ?? ""
        var capabilities: [String: String] = [:]
        if !spec.portMappings.isEmpty {
            capabilities["portMappings"] = JSON.array(spec.portMappings.map(\.json)).text()
        }
        for (name, value) in spec.networkCapabilities.object ?? [:] { capabilities[name] = value.text() }
        return CNIAttachment(
            containerID: spec.id, netns: netns,
            arguments: [
                ["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", spec.podNamespace], ["K8S_POD_NAME", spec.podName],
                ["K8S_POD_INFRA_CONTAINER_ID", spec.id], ["K8S_POD_UID", spec.podUID],
            ], capabilities: capabilities)
    }

    /// The first process of the pod's process namespace, which reaps what the others leave.
    private func startPause(_ record: SandboxRecord) async throws -> ContainerID {
        guard let image = configuration.images.image("catbird/pause") else {
            throw RuntimeError(
                .other,
                "the built-in image catbird/pause, which pods with shareProcessNamespace need, is not in the store")
        }
        let id = try await create(
            ContainerSpec(sandboxID: record.spec.id, name: "POD", image: image), record, isPause: true)
        try await startContainer(id)
        return id
    }

    /// Removes containers that are left, the addresses, the namespaces. Does nothing when there is no such sandbox.
    public func removeSandbox(_ id: String) async throws {
        guard var record = state.withLock({ $0.sandboxes[id] }) else { return }
        record.phase = .removing
        try save(record)
        for container in state.withLock({ $0.containers.values.filter { $0.status.sandboxID == id } }) {
            try await dispose(container.status.id)
        }
        if record.netnsPath != nil {
            do { try await cni.delete(attachment(record)) } catch {
                throw RuntimeError(.network, "failed to destroy network for sandbox \"\(id)\": \(error)")
            }
        }
        for kind in [NamespaceKind.net, .uts, .ipc] { try Namespaces.unpin(paths.namespace(id, kind)) }
        try Mounts.unmount(paths.shm(id))
        try Files.removeTree(paths.sandbox(id))
        try await cgroups.destroy(record.cgroup)
        unlink(paths.sandboxRecord(id))
        state.withLock { $0.sandboxes[id] = nil }
    }
}
