// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
import Values

/// The beginning and the end of a pod on the node: network, volumes, sandbox; and giving them back.
extension PodWorker {
    /// Whether the pod has all that its containers need; takes the steps towards it.
    func prepare() async -> Bool {
        if let known = sandbox, context.runtime.sandbox(known.id)?.state != .ready {
            event("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            sandbox = nil
            podIPs = []
            loseContainers()
        }
        if let retry = setUpRetry, retry > .now {
            ring(at: retry)
            return false
        }
        if sandbox == nil, !pod.hostNetwork {
            let network = context.runtime.networkReady()
            guard network.ready else {
                complain(
                    "NetworkNotReady",
                    "network is not ready: container runtime network not ready: \(NodeConditions.notReady(network.message))"
                )
                // The runtime tells when that changes.
                return false
            }
        }
        // What the downward API shows of addresses is known only with the sandbox; the rest goes side by side.
        async let volumes = setUpVolumesIfNeeded()
        let sandboxError = await setUpSandbox()
        let volumeError = await volumes
        guard sandboxError == nil, volumeError == nil, removal == nil else {
            if let volumeError { complain("FailedMount", volumeError) }
            if let sandboxError { complain("FailedCreatePodSandBox", "Failed to create pod sandbox: \(sandboxError)") }
            // A plugin that fails tells nobody when it will not. The first tries follow closely: an agent that is
            // being started needs some milliseconds.
            setUpFailures += 1
            let wait = min(0.25 * Double(1 << min(setUpFailures, 8)), 30)
            let retry = Timestamp.now.adding(seconds: wait)
            setUpRetry = retry
            ring(at: retry)
            return false
        }
        setUpFailures = 0
        await removeFormerSandboxes()
        if let tokenRenewal { ring(at: tokenRenewal) }
        return true
    }

    /// Gives back what earlier sandboxes of the pod hold. Returns why an address among it cannot be given back yet:
    /// its plugin needs an agent that is not up. Anything else that refuses to go keeps nobody from going on.
    @discardableResult
    private func removeFormerSandboxes() async -> String? {
        var failure: String?
        for former in context.runtime.sandboxes() where former.spec.podUID == uid && former.id != sandbox?.id {
            do { try await context.runtime.removeSandbox(former.id) } catch {
                complain("FailedKillPod", "error killing pod: \(error)")
                if (error as? RuntimeError)?.kind == .network { failure = "\(error)" }
            }
        }
        return failure
    }

    /// The sandbox went, and its containers with it: all of them begin anew, the init containers too.
    private func loseContainers() {
        for (name, var slot) in slots {
            slot.starting?.cancel()
            slot.starting = nil
            slot.probes?.cancel()
            slot.probes = nil
            slot.failedAt = nil
            slot.current = nil
            if case .running(let since) = slot.record.state {
                slot.record.state = .terminated(
                    Termination(
                        exitCode: 137, reason: "ContainerStatusUnknown",
                        message: "The container could not be located when its sandbox was gone", startedAt: since,
                        finishedAt: .now, containerID: slot.record.containerID))
            }
            if slot.view.role == .initial, let end = slot.record.termination {
                slot.record.last = end
                slot.record.state = .waiting(reason: "PodInitializing", message: nil)
            } else {
                slot.restartWanted =
                    slot.record.termination.map {
                        pod.restartPolicy.restarts(exitCode: $0.exitCode)
                    } ?? false
            }
            slot.record.isReady = false
            slots[name] = slot
        }
    }

    /// Returns why it failed.
    private func setUpSandbox() async -> String? {
        guard sandbox == nil else { return nil }
        // Before the next one is made: a pod that asks for one certain address gets it only after it was given back.
        if let failure = await removeFormerSandboxes() { return "its former sandbox is still there: \(failure)" }
        guard removal == nil else { return "the pod is being deleted" }
        context.cgroups.prepare(pod)
        KubeletMetrics.startedPods.add()
        do {
            let made = try await context.runtime.createSandbox(sandboxSpec())
            sandboxAttempt += 1
            podIPs = made.ips.map(\.description)
            sandbox = made
            try writeHostFiles()
            return nil
        } catch {
            if sandbox == nil { sandboxAttempt += 1 }
            return "\(error)"
        }
    }

    private func setUpVolumesIfNeeded() async -> String? {
        volumePaths == nil || volumesAreStale ? await setUpVolumes() : nil
    }

    private func setUpVolumes() async -> String? {
        volumesAreStale = false
        let volumes = pod.spec["volumes"].array ?? []
        guard !volumes.isEmpty else {
            volumePaths = [:]
            return nil
        }
        do {
            let pod = self.pod
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
            tokenRenewal = renewal
            if let renewal { staleVolumes(at: renewal) }
            return nil
        } catch {
            volumesAreStale = true
            return (error as? VolumeError)?.description ?? "MountVolume.SetUp failed: \(error)"
        }
    }

    /// A token has to be fetched anew before it ends: a matter of time alone.
    private func staleVolumes(at moment: Timestamp) {
        let wait = max(moment.seconds(since: .now), 1)
        renewalTimer?.cancel()
        renewalTimer = Task { [weak self] in
            try? await Task.sleep(for: .seconds(wait))
            if !Task.isCancelled { await self?.markVolumesStale() }
        }
    }

    private func markVolumesStale() {
        volumesAreStale = true
        ring()
    }

    // MARK: The end

    /// Stops what runs; true when nothing does any more.
    private func stopAll(grace: Int) async -> Bool {
        for name in slots.keys { slots[name]?.starting?.cancel() }
        // A start that still waits for its image sees by itself that it was cancelled, whenever that comes.
        for slot in slots.values where !slot.isPulling { await slot.starting?.value }
        observe()
        var isQuiet = true
        for (name, var slot) in slots {
            guard slot.record.isRunning else { continue }
            isQuiet = false
            if slot.stopGrace == nil { event("Killing", "Stopping container \(name)", in: slot.view) }
            slot.probes?.stopLiveness()
            stop(&slot, grace: grace)
            slots[name] = slot
        }
        return isQuiet
    }

    /// The pod is over, by itself or by a deadline, but stays in the API: its containers and its address go.
    func finish() async {
        guard !isReleased else {
            await publish()
            return
        }
        guard await stopAll(grace: failure == nil ? pod.terminationGracePeriod : min(pod.terminationGracePeriod, 2))
        else {
            await publish()
            return
        }
        isOver = true
        await publish()
        await release()
    }

    /// The pod is being deleted.
    func terminate(grace: Int) async {
        guard await stopAll(grace: grace) else {
            await publish()
            return
        }
        isOver = true
        await publish()
        if !isReleased { await release() }
        guard isReleased else { return }
        removeLogs()
        guard removal?.isGone == false else {
            end()
            return
        }
        await context.status.flush(uid)
        do {
            try await context.client.delete(.pods, pod.name, in: pod.namespace, uid: uid, gracePeriodSeconds: 0)
        } catch let error as APIError where error.isNotFound || error.isConflict {
            // Gone already, or another pod has the name.
        } catch {
            context.log.warning("cannot delete pod \(pod.key): \(error); trying again")
            ring(at: Timestamp.now.adding(seconds: 1))
            return
        }
        end()
    }

    /// Gives back the address, the namespaces and the volumes.
    private func release() async {
        do {
            for sandbox in context.runtime.sandboxes() where sandbox.spec.podUID == uid {
                try await context.runtime.removeSandbox(sandbox.id)
            }
            sandbox = nil
            try context.volumes.tearDown(uid)
            await context.cgroups.remove(pod)
            isReleased = true
            releaseFailures = 0
        } catch {
            releaseFailures += 1
            complain("FailedKillPod", "error killing pod: \(error)")
            // What refuses to go (a busy mount, a plugin without its agent) tells nobody when it will.
            ring(at: Timestamp.now.adding(seconds: min(0.25 * Double(1 << min(releaseFailures, 8)), 30)))
        }
    }

    private func removeLogs() {
        let configuration = context.configuration
        try? NodeFiles.removeTree(configuration.logDirectory(pod))
        let prefix = "\(pod.name)_\(pod.namespace)_"
        for name in NodeFiles.list(configuration.containerLogDirectory) where name.hasPrefix(prefix) {
            let path = "\(configuration.containerLogDirectory)/\(name)"
            if let target = NodeFiles.link(path), target.contains(uid) { try? NodeFiles.removeTree(path) }
        }
    }
}
