// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
import NIOCore
import NIOSSL
import Synchronization
import Values

/// What the parts of a kubelet share.
final class KubeletContext: Sendable {
    let client: KubeClient
    let configuration: KubeletConfiguration
    let runtime: any PodRuntime
    let events: EventRecorder
    let status: StatusWriter
    let objects: ObjectCache
    let services: Informer
    let tokens: TokenCache
    let puller: ImagePuller
    let volumes: VolumeManager
    let machine: Machine
    let cgroups: PodCgroups
    let prober: Prober
    let logs: LogRotator
    private let http: HTTPClient
    private let allocatableNow: Mutex<Resources>
    let log: Logger

    init(
        client: KubeClient, configuration: KubeletConfiguration, runtime: any PodRuntime,
        images: any ImageSource, log: Logger
    ) {
        self.client = client
        self.configuration = configuration
        self.runtime = runtime
        self.log = log
        machine = Machine(overrides: configuration.capacity, maxPods: configuration.maxPods)
        allocatableNow = Mutex(Resources(JSON(machine.allocatable)))
        cgroups = PodCgroups(root: configuration.cgroupRoot, log: log)
        events = EventRecorder(client, component: "kubelet", host: configuration.nodeName)
        status = StatusWriter(client: client, log: log)
        objects = ObjectCache(client: client)
        services = Informer(client, .services)
        tokens = TokenCache(client: client)
        logs = LogRotator(runtime: runtime, log: log)
        puller = ImagePuller(images: images, events: events, objects: objects)
        volumes = VolumeManager(configuration: configuration)
        // A probe looks at what answers, not at who: certificates are not checked, and a redirect is an answer.
        var settings = HTTPClient.Configuration(certificateVerification: .none)
        settings.redirectConfiguration = .disallow
        settings.httpVersion = .http1Only
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
        let version = configuration.kubernetesVersion.drop { $0 == "v" }.split(separator: ".").prefix(2)
        prober = Prober(runtime: runtime, http: http, userAgent: "kube-probe/\(version.joined(separator: "."))")
    }

    /// What pods may use of the node, with what others have told of.
    var allocatable: Resources { allocatableNow.withLock(\.self) }

    func setAllocatable(_ amounts: JSON?) { allocatableNow.withLock { $0 = Resources(amounts) } }

    func shutdown() async {
        do { try await http.shutdown() } catch { log.debug("the probes' HTTP client did not end well: \(error)") }
    }
}

/// The labels by which a kubelet knows its containers again.
enum ContainerLabels {
    static let podUID = "io.kubernetes.pod.uid"
    static let podName = "io.kubernetes.pod.name"
    static let podNamespace = "io.kubernetes.pod.namespace"
    static let container = "io.kubernetes.container.name"
}
