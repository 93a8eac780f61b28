// SPDX-License-Identifier: Apache-2.0

import APIServer
import ContainerRuntime
import Glibc
import KubeClient
import KubeObjects
import Kubelet
import PKI
import Storage
import Synchronization
import Testing
import Values

/// A kubelet with a runtime that only pretends, on a real API server in memory.
struct Rig: Sendable {
    let client: KubeClient
    let runtime = FakeRuntime()
    let directory = "/tmp/kubelet-tests-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"

    static func with(_ body: @escaping @Sendable (Rig) async throws -> Void) async throws {
        let server = APIServer(
            storage: MemoryBackend(), configuration: APIServerConfiguration(tokenSigner: TokenSigner.create()))
        try await server.start()
        defer { server.stop() }
        try await server.bootstrap()
        let client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        let rig = Rig(client: client)
        var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default")
        account["automountServiceAccountToken"] = false
        _ = try? await client.create(.serviceAccounts, account)
        defer { try? NodeFiles.removeTree(rig.directory, detachingMounts: true) }
        try await body(rig)
    }

    var kubelet: Kubelet { kubelet(maxPods: 110) }

    func kubelet(maxPods: Int) -> Kubelet {
        var configuration = KubeletConfiguration(nodeName: "lab", nodeIP: IPAddress(192, 168, 49, 2), maxPods: maxPods)
        configuration.rootDirectory = directory + "/kubelet"
        configuration.podLogDirectory = directory + "/pods"
        configuration.containerLogDirectory = directory + "/containers"
        configuration.cgroupRoot = ""
        configuration.storageInterval = .milliseconds(50)
        return Kubelet(client: client, configuration: configuration, standIn: runtime, imageSource: FakeImages())
    }

    /// Runs a kubelet while `body` does.
    func running(maxPods: Int = 110, _ body: @escaping @Sendable () async throws -> Void) async throws {
        let task = Task { try await kubelet(maxPods: maxPods).run() }
        let result: Result<Void, any Error>
        do {
            try await body()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        task.cancel()
        _ = try? await task.value
        try result.get()
    }

    @discardableResult
    func create(_ name: String, _ spec: String) async throws -> KubeObject {
        let text =
            #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"\#(name)","namespace":"default"},"spec":\#(spec)}"#
        var pod = KubeObject(try JSON(parsing: text))
        pod["spec"]["nodeName"] = "lab"
        pod["spec"]["terminationGracePeriodSeconds"] = pod["spec"]["terminationGracePeriodSeconds"] ?? 7
        return try await client.create(.pods, pod)
    }

    /// Follows an object until `condition` holds; nil is passed for one that is gone.
    @discardableResult
    func wait(
        _ resource: GroupVersionResource, _ name: String, in namespace: String? = nil, _ what: String = "",
        until condition: @escaping @Sendable (KubeObject?) -> Bool
    ) async throws -> KubeObject? {
        try await withThrowingTaskGroup(of: KubeObject?.self) { group in
            group.addTask {
                let list = try await client.list(resource, in: namespace, fieldSelector: "metadata.name=\(name)")
                if condition(list.items.first) { return list.items.first }
                let watch = try await client.watch(
                    resource, in: namespace, fieldSelector: "metadata.name=\(name)",
                    resourceVersion: list.resourceVersion)
                for try await batch in watch {
                    for event in batch where event.type != .bookmark {
                        let object = event.type == .deleted ? nil : event.object
                        if condition(object) { return object }
                    }
                }
                throw Timeout(what: what)
            }
            group.addTask {
                try await Task.sleep(for: .seconds(20))
                throw Timeout(what: "\(resource) \(name): \(what)")
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    @discardableResult
    func wait(pod name: String, _ what: String = "", until condition: @escaping @Sendable (KubeObject?) -> Bool)
        async throws
        -> KubeObject?
    { try await wait(.pods, name, in: "default", what, until: condition) }

    func event(_ reason: String, of pod: String) async throws -> KubeObject {
        try await withThrowingTaskGroup(of: KubeObject.self) { group in
            group.addTask {
                func matches(_ event: KubeObject) -> Bool {
                    event["reason"].string == reason && event["involvedObject"]["name"].string == pod
                }
                let list = try await client.list(.events, in: "default")
                if let found = list.items.first(where: matches) { return found }
                for try await batch in try await client.watch(
                    .events, in: "default", resourceVersion: list.resourceVersion)
                {
                    if let found = batch.map(\.object).first(where: matches) { return found }
                }
                throw Timeout(what: reason)
            }
            group.addTask {
                try await Task.sleep(for: .seconds(20))
                throw Timeout(what: "event \(reason) of \(pod)")
            }
            defer { group.cancelAll() }
            guard let event = try await group.next() else { throw Timeout(what: reason) }
            return event
        }
    }

    struct Timeout: Error { let what: String }
}

func isReady(_ pod: KubeObject?) -> Bool {
    pod?["status"]["conditions"].array?.contains { $0["type"].string == "Ready" && $0["status"].string == "True" }
        == true
}

@Suite("Kubelet") struct KubeletSuite {
    static let simple = #"{"containers":[{"name":"c","image":"app:1"}]}"#

    @Test("the node is registered, and becomes ready with its network")
    func node() async throws {
        try await Rig.with { rig in
            rig.runtime.setReady(false)
            try await rig.running {
                let node = try await rig.wait(.nodes, "lab") { $0?["status"]["conditions"].array?.isEmpty == false }
                #expect(node?.labels["kubernetes.io/hostname"] == "lab")
                let ready = node?["status"]["conditions"].array?.last
                #expect(ready["reason"].string == "KubeletNotReady")
                #expect(node?["status"]["nodeInfo"].object?.count == 10)
                try await rig.wait(.leases, "lab", in: "kube-node-lease") {
                    $0?["spec"]["holderIdentity"].string == "lab"
                }
                rig.runtime.setReady(true)
                let working = try await rig.wait(.nodes, "lab", "ready") { isReady($0) }
                // The taint is for the controller to take off: a kubelet may not.
                #expect(working?["spec"]["taints"][0]["key"].string == "node.kubernetes.io/not-ready")
            }
        }
    }

    @Test("a pod from creation to Ready, with its events, and away again")
    func lifecycle() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "web", #"{"containers":[{"name":"c","image":"someone/page"},{"name":"d","image":"app:1"}]}"#)
                let pod = try await rig.wait(pod: "web") { isReady($0) }
                #expect(pod?["status"]["phase"].string == "Running")
                #expect(pod?["status"]["podIP"].string == "10.244.0.5")
                let status = pod?["status"]["containerStatuses"][0]
                #expect(status["started"].bool == true)
                #expect(status["image"].string == "someone/page")
                let pulled = try await rig.event("Pulled", of: "web")
                #expect(pulled["message"].string?.isEmpty == false)
                #expect(try await rig.event("Started", of: "web")["message"].string == "Container started")
                #expect(NodeFiles.list(rig.directory + "/containers").count == 2)
                try await rig.client.delete(.pods, "web", in: "default")
                try await rig.wait(pod: "web", "gone") { $0 == nil }
                #expect(rig.runtime.sandboxes().isEmpty)
                #expect(rig.runtime.state.withLock { $0.stops } == [7, 7])
                #expect(NodeFiles.list(rig.directory + "/kubelet/pods").isEmpty)
                #expect(NodeFiles.list(rig.directory + "/pods").isEmpty)
                #expect(NodeFiles.list(rig.directory + "/containers").isEmpty)
            }
        }
    }

    @Test("an image that is here is started when its registry is out of reach, visibly, and not when it says no")
    func alwaysOutOfReach() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", #"{"containers":[{"name":"c","image":"loaded:latest"}]}"#)
                try await rig.wait(pod: "web") { isReady($0) }
                let event = try await rig.event("RegistryUnreachable", of: "web")
                #expect(event["type"].string == "Warning")
                let message = event["message"].string ?? ""
                #expect(message.contains("refused") && message.contains("imagePullPolicy: IfNotPresent"))
                #expect(!message.contains("image load"))
                try await rig.create("no", #"{"containers":[{"name":"c","image":"loaded/nowhere:latest"}]}"#)
                let pod = try await rig.wait(pod: "no", "refused") {
                    $0?["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].string == "ErrImagePull"
                }
                let words = pod?["status"]["containerStatuses"][0]["state"]["waiting"]["message"].string ?? ""
                #expect(words.contains("no such image") && words.contains("imagePullPolicy: IfNotPresent"))
            }
        }
    }

    @Test("a container that ends is started again, the second time after a back-off")
    func crash() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", Self.simple)
                try await rig.wait(pod: "web") { isReady($0) }
                rig.runtime.exit("c1", 1)
                try await rig.wait(pod: "web", "restarted") {
                    $0?["status"]["containerStatuses"][0]["restartCount"].int == 1 && isReady($0)
                }
                rig.runtime.exit("c2", 2)
                let pod = try await rig.wait(pod: "web", "backing off") {
                    $0?["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].string == "CrashLoopBackOff"
                }
                let status = pod?["status"]["containerStatuses"][0]
                #expect(
                    status["state"]["waiting"]["message"].string?.hasPrefix(
                        "back-off 10s restarting failed container=c pod=web_default(") == true)
                #expect(status["lastState"]["terminated"]["exitCode"].int == 2)
                #expect(pod?["status"]["phase"].string == "Running")
                _ = try await rig.event("BackOff", of: "web")
            }
        }
    }

    @Test("init containers run one after the other; a job's pod succeeds and gives back its address")
    func initAndCompletion() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "job",
                    #"{"restartPolicy":"Never","initContainers":[{"name":"i","image":"app:1"},{"name":"j","image":"app:1"}],"containers":[{"name":"c","image":"app:1"}]}"#
                )
                try await rig.wait(pod: "job", "first") {
                    $0?["status"]["initContainerStatuses"][0]["state"]["running"] != nil
                }
                #expect(rig.runtime.containers().count == 1)
                rig.runtime.exit("c1", 0)
                try await rig.wait(pod: "job", "second") {
                    $0?["status"]["initContainerStatuses"][1]["state"]["running"] != nil
                }
                rig.runtime.exit("c2", 0)
                try await rig.wait(pod: "job", "main") { $0?["status"]["phase"].string == "Running" }
                rig.runtime.exit("c3", 0)
                let pod = try await rig.wait(pod: "job", "over") { $0?["status"]["phase"].string == "Succeeded" }
                #expect(pod?["status"]["containerStatuses"][0]["state"]["terminated"]["reason"].string == "Completed")
                try await rig.client.delete(.pods, "job", in: "default")
                try await rig.wait(pod: "job", "gone") { $0 == nil }
                #expect(rig.runtime.sandboxes().isEmpty)
            }
        }
    }

    @Test("what is missing is said, and its coming is noticed")
    func missing() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "web",
                    #"{"containers":[{"name":"c","image":"app:1","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"settings","key":"a"}}}],"volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","configMap":{"name":"settings"}}]}"#
                )
                let failed = try await rig.event("FailedMount", of: "web")
                #expect(
                    failed["message"].string
                        == #"MountVolume.SetUp failed for volume "v" : configmap "settings" not found"#)
                var settings = KubeObject(.configMaps, kind: "ConfigMap", name: "settings", namespace: "default")
                settings["data"] = ["a": "1"]
                try await rig.client.create(.configMaps, settings)
                let pod = try await rig.wait(pod: "web") { isReady($0) }
                let spec = rig.runtime.state.withLock { $0.specs["c1"] }
                #expect(spec?.environment.contains { $0.name == "A" && $0.value == "1" } == true)
                let volume = "\(rig.directory)/kubelet/pods/\(pod?.uid ?? "")/volumes/kubernetes.io~configmap/v"
                #expect(NodeFiles.text(volume + "/a") == "1")
            }
        }
    }

    @Test("an image that cannot be had; a sandbox without an address")
    func failures() async throws {
        try await Rig.with { rig in
            rig.runtime.state.withLock { $0.sandboxFailures = 1 }
            try await rig.running {
                try await rig.create("web", #"{"containers":[{"name":"c","image":"nobody/has:it"}]}"#)
                #expect(
                    try await rig.event("FailedCreatePodSandBox", of: "web")["message"].string
                        == "Failed to create pod sandbox: no address left in pool test")
                let pod = try await rig.wait(pod: "web") {
                    let reason = $0?["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].string
                    return reason == "ErrImagePull" || reason == "ImagePullBackOff"
                }
                #expect(pod?["status"]["phase"].string == "Pending")
                try await rig.client.delete(.pods, "web", in: "default", gracePeriodSeconds: 0)
                try await rig.wait(pod: "web", "gone") { $0 == nil }
            }
        }
    }

    @Test("a kubelet that starts anew takes over what runs, and removes what nobody knows")
    func adoption() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", Self.simple)
                try await rig.create("gone", Self.simple)
                try await rig.wait(pod: "web") { isReady($0) }
                try await rig.wait(pod: "gone") { isReady($0) }
            }
            let before = try await rig.client.get(.pods, "web", in: "default")
            try await rig.client.delete(.pods, "gone", in: "default", gracePeriodSeconds: 0)
            try await rig.running {
                // A change that only a working kubelet makes: the container is restarted.
                let id = rig.runtime.containers().first { $0.labels["io.kubernetes.pod.name"] == "web" }?.id ?? ""
                try await rig.create("next", Self.simple)
                try await rig.wait(pod: "next") { isReady($0) }
                #expect(rig.runtime.container(id)?.state == .running)
                rig.runtime.exit(id, 0)
                let after = try await rig.wait(pod: "web", "restarted") {
                    $0?["status"]["containerStatuses"][0]["restartCount"].int == 1 && isReady($0)
                }
                #expect(after?["status"]["podIP"] == before["status"]["podIP"])
                #expect(after?["status"]["startTime"] == before["status"]["startTime"])
            }
        }
    }

    @Test("readiness and liveness by commands")
    func probes() async throws {
        try await Rig.with { rig in
            rig.runtime.state.withLock { $0.failures = 1 }
            try await rig.running {
                try await rig.create(
                    "web",
                    #"{"containers":[{"name":"c","image":"app:1","readinessProbe":{"exec":{"command":["r"]},"periodSeconds":1},"livenessProbe":{"exec":{"command":["live"]},"periodSeconds":1,"failureThreshold":1}}]}"#
                )
                let killing = try await rig.event("Unhealthy", of: "web")
                #expect(killing["message"].string == "Liveness probe failed: probe says no")
                try await rig.wait(pod: "web", "restarted") {
                    $0?["status"]["containerStatuses"][0]["restartCount"].int == 1
                }
                try await rig.wait(pod: "web") { isReady($0) }
            }
        }
    }

    @Test("hooks run after the start and before the stop")
    func hooks() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "web",
                    #"{"containers":[{"name":"c","image":"app:1","lifecycle":{"postStart":{"exec":{"command":["post"]}},"preStop":{"exec":{"command":["pre"]}}}}]}"#
                )
                try await rig.wait(pod: "web") { isReady($0) }
                #expect(rig.runtime.state.withLock { $0.commands } == [["post"]])
                try await rig.client.delete(.pods, "web", in: "default")
                try await rig.wait(pod: "web", "gone") { $0 == nil }
                #expect(rig.runtime.state.withLock { $0.commands } == [["post"], ["pre"]])
            }
        }
    }

    @Test("the one address a pod may have is given back before it is asked for again, as soon as its plugin can")
    func fixedAddress() async throws {
        try await Rig.with { rig in
            rig.runtime.state.withLock { $0.fixesAddress = true }
            try await rig.running {
                try await rig.create("web", Self.simple)
                try await rig.wait(pod: "web") { isReady($0) }
                rig.runtime.state.withLock { $0.removalFailures = 3 }
                rig.runtime.loseEverything()
                try await rig.wait(pod: "web", "started again") {
                    $0?["status"]["containerStatuses"][0]["restartCount"].int == 1 && isReady($0)
                }
                // No attempt was spent on sandboxes that could not be.
                #expect(rig.runtime.sandboxes().map(\.spec.attempt) == [1])
                let event = try await rig.event("FailedKillPod", of: "web")
                #expect(event["message"].string == "error killing pod: the agent is not up")
            }
        }
    }

    @Test("while a plugin takes its time the pod's status is told, its deletion is heard, and it is deleted after it")
    func slowPlugin() async throws {
        try await Rig.with { rig in
            let (plugin, word) = AsyncStream<Void>.makeStream()
            rig.runtime.state.withLock { $0.plugin = plugin }
            try await rig.running {
                try await rig.create("web", Self.simple)
                try await rig.wait(pod: "web", "told") {
                    $0?["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].string == "ContainerCreating"
                }
                try await rig.client.delete(.pods, "web", in: "default")
                try await rig.wait(pod: "web", "its end is heard") { $0?["status"]["phase"].string == "Failed" }
                #expect(rig.runtime.sandboxes().isEmpty)
                word.yield()
                try await rig.wait(pod: "web", "gone") { $0 == nil }
                #expect(rig.runtime.sandboxes().isEmpty)
                #expect(rig.runtime.containers().isEmpty)
            }
        }
    }

    @Test("an agent that listens again is shown the sandboxes")
    func networkChecks() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("web", Self.simple)
                try await rig.create("node", #"{"hostNetwork":true,"containers":[{"name":"c","image":"app:1"}]}"#)
                let pod = try await rig.wait(pod: "web") { isReady($0) }
                try await rig.wait(pod: "node") { isReady($0) }
                rig.runtime.setReady(true)
                // Comes after the look that was asked for.
                for await checks in rig.runtime.checks where !checks.isEmpty {
                    #expect(checks == ["\(pod?.uid ?? "")-0"])
                    break
                }
            }
        }
    }

    @Test("what a pod left that is gone is removed as soon as its plugin can")
    func orphans() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create("gone", Self.simple)
                try await rig.wait(pod: "gone") { isReady($0) }
            }
            try await rig.client.delete(.pods, "gone", in: "default", gracePeriodSeconds: 0)
            rig.runtime.state.withLock { state in
                state.removalFailures = 3
                state.fixesAddress = true
            }
            try await rig.running {
                // It can only become ready when the other's address was given back.
                try await rig.create("next", Self.simple)
                try await rig.wait(pod: "next") { isReady($0) }
            }
        }
    }

    @Test("a pod whose sandbox went begins anew, with its init containers")
    func lostSandbox() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "web",
                    #"{"initContainers":[{"name":"i","image":"app:1"}],"containers":[{"name":"c","image":"app:1"}]}"#)
                try await rig.wait(pod: "web", "init") {
                    $0?["status"]["initContainerStatuses"][0]["state"]["running"] != nil
                }
                rig.runtime.exit("c1", 0)
                try await rig.wait(pod: "web") { isReady($0) }
                rig.runtime.loseEverything()
                try await rig.wait(pod: "web", "init again") {
                    $0?["status"]["initContainerStatuses"][0]["state"]["running"] != nil
                }
                #expect(rig.runtime.sandboxes().map(\.spec.attempt) == [1])
                rig.runtime.exit("c3", 0)
                let pod = try await rig.wait(pod: "web", "ready again") { isReady($0) }
                let status = pod?["status"]["containerStatuses"][0]
                #expect(status["restartCount"].int == 1)
                #expect(status["lastState"]["terminated"]["reason"].string == "ContainerStatusUnknown")
                _ = try await rig.event("SandboxChanged", of: "web")
            }
        }
    }
}
