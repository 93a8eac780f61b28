// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Logging
import Values

/// Finds what pods have left on this node that the API does not know any more, by what is in the kernel and on disk, and
/// removes it: sandboxes with their namespaces, shared memory and addresses, volumes, control groups, logs.
///
/// It looks when the kubelet has started, when a pod that is done has left something, and when the network can be asked
/// again. As long as something refuses to go it looks again by itself, a little later each time: a busy group and a
/// plugin without its agent tell nobody when they will not.
final class OrphanCollector: Sendable {
    private let context: KubeletContext
    private let wishes: AsyncStream<Void>
    private let wish: AsyncStream<Void>.Continuation

    init(context: KubeletContext) {
        self.context = context
        (wishes, wish) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Asks for a look. Wishes that come while it looks are one.
    func look() { wish.yield() }

    /// Asks for one if a pod that is done, as far as its worker or the API says, has anything here yet.
    func look(after pod: PodView) {
        let configuration = context.configuration
        let group = context.cgroups.path(of: pod)
        if NodeFiles.exists(configuration.podDirectory(pod.uid)) || NodeFiles.exists(configuration.logDirectory(pod))
            || group.map(context.cgroups.exists) ?? false
            || context.runtime.sandboxes().contains(where: { $0.spec.podUID == pod.uid })
        {
            look()
        }
    }

    /// Looks at once, and then at each wish, until cancelled.
    ///
    /// - Parameter known: asked at each look; what it returns tells of a pod's uid whether it may have something here.
    func run(known: @escaping @Sendable () -> @Sendable (String) -> Bool) async {
        var failures = 0
        var retry: Task<Void, Never>?
        look()
        for await _ in wishes {
            let left = await sweep(known())
            for what in left { context.log.warning("cannot remove what a pod that is gone has left: \(what)") }
            failures = left.isEmpty ? 0 : failures + 1
            guard failures > 0 else { continue }
            // An agent that comes back changes nothing that is watched: with long waits a pod's address stays for them.
            let wait = min(0.5 * Double(1 << min(failures, 4)), 5)
            retry?.cancel()
            // Not structured: a wish that comes before it is not kept waiting.
            retry = Task { [wish] in
                do { try await Task.sleep(for: .seconds(wait)) } catch { return }
                wish.yield()
            }
        }
        retry?.cancel()
    }

    private func sweep(_ isKnown: (String) -> Bool) async -> [String] {
        let configuration = context.configuration
        var failures: [String] = []
        func attempt(_ what: String, _ body: () async throws -> Void) async {
            do { try await body() } catch { failures.append("\(what): \(error)") }
        }
        for sandbox in context.runtime.sandboxes() where !isKnown(sandbox.spec.podUID) {
            await attempt("sandbox of \(sandbox.spec.podNamespace)/\(sandbox.spec.podName)") {
                for container in context.runtime.containers()
                where container.sandboxID == sandbox.id && container.state == .running {
                    try await context.runtime.stopContainer(container.id, timeoutSeconds: 2)
                }
                try await context.runtime.removeSandbox(sandbox.id)
            }
        }
        failures += await context.runtime.removeOrphans()
        for uid in context.volumes.leftovers() where !isKnown(uid) {
            await attempt("volumes of pod \(uid)") { try context.volumes.tearDown(uid) }
        }
        for (uid, group) in context.cgroups.existing() where !isKnown(uid) {
            await attempt("control group \(group)") { try await context.cgroups.destroy(group) }
        }
        for name in NodeFiles.list(configuration.podLogDirectory) {
            // NAMESPACE_NAME_UID; what else lies there is somebody else's.
            let parts = name.split(separator: "_")
            guard parts.count == 3, Self.isUID(parts[2]), !isKnown(String(parts[2])) else { continue }
            await attempt("logs \(name)") { try NodeFiles.removeTree("\(configuration.podLogDirectory)/\(name)") }
        }
        for name in NodeFiles.list(configuration.containerLogDirectory) where name.hasSuffix(".log") {
            let link = "\(configuration.containerLogDirectory)/\(name)"
            guard let target = NodeFiles.link(link), target.hasPrefix(configuration.podLogDirectory + "/"),
                let uid = target.dropFirst(configuration.podLogDirectory.count + 1).split(separator: "/").first?
                    .split(separator: "_").last, Self.isUID(uid), !isKnown(String(uid))
            else { continue }
            await attempt("log link \(name)") { try NodeFiles.removeTree(link) }
        }
        return failures
    }

    /// As the API server makes them.
    private static func isUID(_ text: some StringProtocol) -> Bool {
        let digits = Set("0123456789abcdef-".utf8)
        return text.utf8.count == 36 && text.utf8.allSatisfy(digits.contains)
    }
}
