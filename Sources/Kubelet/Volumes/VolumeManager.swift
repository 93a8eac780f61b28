// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import KubeClient
import KubeObjects
import Linux
import Values

/// Sets up and takes down the volumes of pods below the kubelet's directory.
struct VolumeManager: Sendable {
    let configuration: KubeletConfiguration

    /// Where parts of volumes, and of the node, are mounted for containers to be given.
    private var places: String { "\(configuration.rootDirectory)/places" }

    /// Makes or refreshes a volume and returns its path on the node.
    func setUp(
        _ volume: JSON, of pod: PodView, environment: EnvironmentSources, tokens: [TokenRequest: String],
        objects: [ObjectReference: KubeObject]
    ) throws -> String {
        let name = volume["name"].string ?? ""
        let group = pod.spec["securityContext"]["fsGroup"].int.flatMap { UInt32(exactly: $0) }
        if let hostPath = volume["hostPath"] { return try self.hostPath(hostPath, name) }
        if let emptyDir = volume["emptyDir"] { return try self.emptyDir(emptyDir, name, pod, group) }
        if let files = try VolumePayload.files(
            of: volume, pod: pod, environment: environment, tokens: tokens, object: { objects[$0] })
        {
            let kind = ["configMap", "secret", "projected", "downwardAPI"].first { volume[$0] != nil } ?? "projected"
            let path = directory(pod.uid, kind.lowercased() == "downwardapi" ? "downward-api" : kind.lowercased(), name)
            try AtomicWriter(directory: path, group: group).write(files)
            return path
        }
        let kind = volume.object?.keys.first { $0 != "name" } ?? "no source"
        throw VolumeError(
            name,
            "volumes of type \(kind) are not supported by this kubelet;"
                + " use emptyDir, configMap, secret, projected, downwardAPI or hostPath")
    }

    /// Counts how long it takes to make a volume ready.
    func measured(_ volume: JSON, _ body: () throws -> String) throws -> String {
        let begun = ContinuousClock.now
        let plugin = KubeletMetrics.plugin(of: volume)
        func note(_ status: String) {
            KubeletMetrics.mounts.observe(since: begun, ["false", "volume_mount", status, plugin])
        }
        do {
            let path = try body()
            note("success")
            KubeletMetrics.mountErrors.touch(["volume_mount", plugin])
            return path
        } catch {
            note("fail-unknown")
            KubeletMetrics.mountErrors.add(1, ["volume_mount", plugin])
            throw error
        }
    }

    private func directory(_ uid: String, _ kind: String, _ name: String) -> String {
        "\(configuration.podDirectory(uid))/volumes/kubernetes.io~\(kind)/\(name)"
    }

    func emptyDirPath(_ uid: String, _ name: String) -> String { directory(uid, "empty-dir", name) }

    private func emptyDir(_ source: JSON, _ name: String, _ pod: PodView, _ group: UInt32?) throws -> String {
        let path = emptyDirPath(pod.uid, name)
        if NodeFiles.kind(path) == .directory {
            let isPrepared = source["medium"].string == "Memory" ? try Mounts.isMountPoint(path) : true
            if isPrepared { return path }
        }
        try NodeFiles.makeDirectory(path)
        if source["medium"].string == "Memory" {
            let limit = source["sizeLimit"].flatMap(ResourceAmount.value)
            let options = limit.map { "size=\($0),mode=0777" } ?? "mode=0777"
            try Mounts.mount("tmpfs", onto: path, type: "tmpfs", options: options)
        }
        try NodeFiles.check(chmod(path, group == nil ? 0o777 : 0o2777), "chmod", path)
        if let group { try NodeFiles.check(chown(path, uid_t.max, group), "chown", path) }
        return path
    }

    private func hostPath(_ source: JSON, _ name: String) throws(VolumeError) -> String {
        let hostPath = HostPath(source)
        do { try hostPath.make() } catch { throw VolumeError(name, "\(error)") }
        do {
            _ = try hostPath.place()
        } catch let mismatch as HostPath.Mismatch {
            throw VolumeError(name, mismatch.description)
        } catch {
            // Only a type asks for something to be there before the container is made.
            if !hostPath.type.isEmpty { throw VolumeError(name, "hostPath type check failed: \(error)") }
        }
        return hostPath.path
    }

    /// The mounts of a container: its volumes, by name, at the paths on the node given in `paths`.
    func mounts(
        of container: ContainerView, in uid: String, paths: [String: String], volumes: [JSON],
        variables: [(String, String)]
    ) throws(ContainerConfigError) -> [Mount] {
        var result: [Mount] = []
        for (index, mount) in (container.json["volumeMounts"].array ?? []).enumerated() {
            let name = mount["name"].string ?? ""
            guard let path = paths[name], let destination = mount["mountPath"].string else {
                throw ContainerConfigError("volume \(name) of container \(container.name) is not mounted")
            }
            var source = path
            var subPath = mount["subPath"].string ?? ""
            if let expression = mount["subPathExpr"].string {
                subPath = VariableExpansion.expand(expression) { name in variables.first { $0.0 == name }?.1 }
            }
            let propagation: Mount.Propagation =
                switch mount["mountPropagation"].string {
                case "HostToContainer": .hostToContainer
                case "Bidirectional": .bidirectional
                default: .private
                }
            let volume = volumes.first { $0["name"].string == name }
            let place = "\(places)/\(uid)/\(name)/\(container.name)/\(index)"
            let isShared = propagation == .bidirectional
            let isCopied = volume["hostPath"] != nil && container.json["securityContext"]["privileged"].bool != true
            if isCopied || !subPath.isEmpty {
                do throws(Errno) { try MountPoint.prepareFolder(places) } catch {
                    throw ContainerConfigError("failed to prepare volume \(name): \(error)")
                }
            }
            if !subPath.isEmpty {
                source = place
                try SubPath(subPath, volume: path).mount(onto: place, isShared: isShared)
            }
            var isProtected = false
            // Who is privileged may mount what he likes; a copy of the node's mounts would only be in his way.
            if isCopied {
                if subPath.isEmpty {
                    source = place
                    try bind(HostPath(volume["hostPath"] ?? [:]), at: place, isShared: isShared)
                }
                do throws(Errno) {
                    isProtected = try MountPoint(place).protectMachine(images: configuration.imageDirectory)
                } catch {
                    throw ContainerConfigError("failed to prepare volume \(name): \(error)")
                }
            }
            let isContent = ["configMap", "secret", "projected", "downwardAPI"].contains { volume[$0] != nil }
            result.append(
                Mount(
                    source: source, destination: destination,
                    readOnly: isContent || isProtected || mount["readOnly"].bool == true,
                    propagation: propagation))
        }
        return result
    }

    /// A path of the node at a place of the kubelet's own, as it is now.
    private func bind(_ part: HostPath, at place: String, isShared: Bool) throws(ContainerConfigError) {
        do {
            try MountPoint(place).bind(try part.place(), isShared: isShared)
        } catch let mismatch as HostPath.Mismatch {
            throw ContainerConfigError(mismatch.description)
        } catch {
            throw ContainerConfigError("what is to be mounted is not on the node: \(part.path): \(error)")
        }
    }

    /// Unmounts and removes everything of a pod on this node but its logs.
    func tearDown(_ uid: String) throws {
        let path = configuration.podDirectory(uid)
        // A container may have mounted there what no list can name by a path.
        try NodeFiles.removeTree("\(places)/\(uid)", detachingMounts: true)
        try NodeFiles.removeTree(path, detachingMounts: true)
    }

    /// The uids of pods that have left something on this node.
    func leftovers() -> [String] {
        Set(NodeFiles.list("\(configuration.rootDirectory)/pods") + NodeFiles.list(places)).sorted()
    }
}
