// SPDX-License-Identifier: Apache-2.0

public import ContainerRuntime
public import KubeClient
public import Logging

/// The agent that makes a machine a node: it registers the node, runs its pods, and serves their logs, commands and
/// ports.
///
/// Everything it needs to go on after a SIGKILL is in the API and in the runtime: a kubelet that starts finds the
/// containers that run, takes them over as they are, and catches up with those that ended.
public struct Kubelet: Sendable {
    private let context: KubeletContext
    private let images: any ImageSource

    public init(
        client: KubeClient, configuration: KubeletConfiguration, runtime: Runtime, images: ImageStore,
        logger: Logger = Logger(label: "kubelet")
    ) {
        self.init(client: client, configuration: configuration, standIn: runtime, imageSource: images, logger: logger)
    }

    package init(
        client: KubeClient, configuration: KubeletConfiguration, standIn runtime: any PodRuntime,
        imageSource images: any ImageSource, logger: Logger = Logger(label: "kubelet")
    ) {
        self.images = images
        context = KubeletContext(
            client: client, configuration: configuration, runtime: MeasuredRuntime(runtime: runtime), images: images,
            log: logger)
    }

    /// Works until cancelled. Containers go on running.
    public func run() async throws {
        let pods = PodManager(context: context)
        let server = try KubeletServer(context: context, pods: pods)
        let node = NodeKeeper(context: context, images: images)
        let (listening, isListening) = AsyncStream<Void>.makeStream()
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await context.services.run() }
                group.addTask {
                    // Whoever reads that the node or a pod is ready may ask for a log or a command the next moment.
                    for await _ in listening {}
                    await withDiscardingTaskGroup { group in
                        group.addTask { await node.run() }
                        group.addTask { await pods.run() }
                    }
                }
                group.addTask { await context.logs.run() }
                if let server {
                    group.addTask { try await server.run { isListening.finish() } }
                } else {
                    isListening.finish()
                }
                // Unlike waitForAll, this ends with the first failure: the node is then started anew.
                while try await group.next() != nil {}
            }
        } catch {
            await context.shutdown()
            throw error
        }
        await context.shutdown()
    }
}
