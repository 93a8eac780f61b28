// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
import Values

/// The beginning and the end of a pod on the node: network, volumes, sandbox; and giving them back.
extension PodWorker {
    /// Gives back what the pod's sandboxes hold, as far as it can be had.
    func removeSandboxes(_ ids: [String]) async -> [(message: String, holdsAddress: Bool)] {
        var failures: [(message: String, holdsAddress: Bool)] = []
        for id in ids {
            do { try await context.runtime.removeSandbox(id) } catch {
                failures.append(("\(error)", (error as? RuntimeError)?.kind == .network))
            }
        }
        return failures
    }

    func makeSandbox(_ attempt: Int) async -> PodEvent {
        context.cgroups.prepare(pod)
        KubeletMetrics.startedPods.add()
        do {
            let made = try await context.runtime.createSandbox(sandboxSpec(attempt))
            sandbox = made
            let addresses = made.ips.map(\.description)
            try writeHostFiles(podIPs: addresses)
            return .sandboxMade(id: made.spec.id, addresses: addresses)
        } catch {
            return .sandboxFailed("\(error)")
        }
    }

    func setUpVolumes() async -> PodEvent {
        let pod = self.pod
        let volumes = pod.spec["volumes"].array ?? []
        guard !volumes.isEmpty else { return .volumesMade(renewal: nil) }
        do {
            let context = self.context
            let requests = Set(volumes.flatMap(VolumePayload.tokens))
            async let found = context.objects.objects(VolumePayload.references(of: pod))
            var tokens: [TokenRequest: String] = [:]
            var renewal: Timestamp?
            for request in requests {
                let token = try await context.tokens.token(request, for: pod)
                tokens[request] = token.text
                renewal = min(renewal ?? token.renewal, token.renewal)
            }
            let objects = try await found
            let sources = environmentSources()
            var paths: [String: String] = [:]
            for volume in volumes {
                paths[volume["name"].string ?? ""] = try context.volumes.measured(volume) {
                    try context.volumes.setUp(
                        volume, of: pod, environment: sources, tokens: tokens, objects: objects)
                }
            }
            volumePaths = paths
            return .volumesMade(renewal: renewal)
        } catch {
            return .volumesFailed((error as? VolumeError)?.description ?? "MountVolume.SetUp failed: \(error)")
        }
    }

    // MARK: The end

    /// Gives back the address, the namespaces and the volumes. Returns what refuses to go: a busy mount, a plugin
    /// without its agent.
    func release() async -> String? {
        do {
            for sandbox in context.runtime.sandboxes() where sandbox.spec.podUID == uid {
                try await context.runtime.removeSandbox(sandbox.id)
            }
            sandbox = nil
            try context.volumes.tearDown(uid)
            await context.cgroups.remove(pod)
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Has the API forget the pod. Returns why it does not.
    func deleteFromAPI() async -> String? {
        await context.status.flush(uid)
        do {
            try await context.client.delete(.pods, pod.name, in: pod.namespace, uid: uid, gracePeriodSeconds: 0)
            return nil
        } catch let error as APIError where error.isNotFound || error.isConflict {
            // Gone already, or another pod has the name.
            return nil
        } catch {
            context.log.warning("cannot delete pod \(pod.key): \(error); trying again")
            return "\(error)"
        }
    }
}
