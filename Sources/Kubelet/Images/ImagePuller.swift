// SPDX-License-Identifier: Apache-2.0

package import ContainerRuntime
import KubeClient
package import KubeObjects
import Values

/// Gets images for containers: one pull of an image at a time, with a back-off after each failure.
actor ImagePuller {
    enum Outcome: Sendable {
        case ready(LocalImage)
        /// A waiting reason, its message, and when to ask again; nil: not before something changes.
        case waiting(reason: String, message: String, retryAt: Timestamp?)
    }

    private struct Failure {
        var backoff = RestartBackoff()
        var at: Timestamp
        var reason: String
        var message: String
    }

    private let images: any ImageSource
    private let events: EventRecorder
    private let objects: ObjectCache
    private var pulls: [String: Task<LocalImage, any Error>] = [:]
    private var failures: [String: Failure] = [:]

    init(images: any ImageSource, events: EventRecorder, objects: ObjectCache) {
        self.images = images
        self.events = events
        self.objects = objects
    }

    func ensure(_ container: ContainerView, of pod: PodView) async -> Outcome {
        let name = container.image
        let present = images.image(name)
        func event(_ type: EventRecorder.EventType, _ reason: String, _ message: String) {
            events.record(
                pod.object, type: type, reason: reason, message: message, fieldPath: container.fieldPath)
        }
        if let present, ImageMessages.isBuiltIn(present) || container.imagePullPolicy != "Always" {
            event(.normal, "Pulled", ImageMessages.present(name, present))
            return .ready(present)
        }
        if container.imagePullPolicy == "Never" {
            let message = "Container image \"\(name)\" is not present with pull policy of Never"
            event(.warning, "ErrImageNeverPull", message)
            return .waiting(
                reason: "ErrImageNeverPull", message: message, retryAt: Timestamp.now.adding(seconds: 10))
        }
        if let failure = failures[name], let due = failure.backoff.due(after: failure.at), due > .now {
            event(.normal, "BackOff", "Back-off pulling image \"\(name)\"")
            event(.warning, "Failed", "Error: ImagePullBackOff")
            return .waiting(
                reason: "ImagePullBackOff",
                message: "Back-off pulling image \"\(name)\": \(failure.reason): \(failure.message)", retryAt: due)
        }
        let asked = Timestamp.now
        event(.normal, "Pulling", "Pulling image \"\(name)\"")
        do {
            let credentials = await credentials(of: pod)
            let started = Timestamp.now
            let image = try await pull(name, credentials)
            let now = Timestamp.now
            failures[name] = nil
            event(
                .normal, "Pulled",
                ImageMessages.pulled(name, image, took: now.seconds(since: started), waited: now.seconds(since: asked)))
            return .ready(image)
        } catch {
            if let present, let message = ImageMessages.unreachable(name, error) {
                event(.warning, "RegistryUnreachable", message)
                event(.normal, "Pulled", ImageMessages.present(name, present))
                return .ready(present)
            }
            let reason = ImageMessages.reason(error)
            let message = ImageMessages.failed(name, error) + (present == nil ? "" : ImageMessages.isHere)
            var failure = failures[name] ?? Failure(at: .now, reason: reason, message: message)
            let now = Timestamp.now
            failure.backoff.willTry(at: now, after: failure.at)
            failure.at = now
            failure.reason = reason
            failure.message = message
            failures[name] = failure
            event(.warning, reason == "InvalidImageName" ? "InspectFailed" : "Failed", message)
            event(.warning, "Failed", "Error: \(reason)")
            return .waiting(reason: reason, message: message, retryAt: failure.backoff.due(after: now))
        }
    }

    private func pull(_ name: String, _ credentials: [RegistryCredential]) async throws -> LocalImage {
        if let running = pulls[name] { return try await running.value }
        let images = self.images
        // Not structured: several pods wait for one pull, and the one that asked first may be deleted meanwhile.
        let task = Task { try await images.pull(name, credentials: credentials) }
        pulls[name] = task
        defer { pulls[name] = nil }
        return try await task.value
    }

    private func credentials(of pod: PodView) async -> [RegistryCredential] {
        let names = pod.spec["imagePullSecrets"].array?.compactMap { $0["name"].string } ?? []
        var result: [RegistryCredential] = []
        for name in names {
            // A secret that cannot be read is as one that does not exist: the pull goes on without it.
            guard
                let secret = try? await objects.object(ObjectReference(.secrets, pod.namespace, name))
            else { continue }
            result += DockerConfiguration.credentials(in: secret)
        }
        return result
    }
}

/// What events and statuses say of images.
package enum ImageMessages {
    /// Whether Catbird brought the image itself: there is no registry to ask for a newer one.
    package static func isBuiltIn(_ image: LocalImage) -> Bool {
        image.standsInFor != nil || image.reference.hasPrefix("catbird/") || image.reference.contains("/catbird/")
    }

    package static func present(_ name: String, _ image: LocalImage) -> String {
        guard image.standsInFor != nil else { return "Container image \"\(name)\" already present on machine" }
        return "Container image \"\(name)\" is served by the built-in \(short(image.reference))"
            + " (start with --builtin-images=false to pull the original)"
    }

    private static func short(_ reference: String) -> String {
        let name = reference.hasSuffix(":latest") ? String(reference.dropLast(7)) : reference
        let parts = name.split(separator: "/")
        return parts.count > 2 ? parts.suffix(2).joined(separator: "/") : name
    }

    package static func pulled(_ name: String, _ image: LocalImage, took: Double, waited: Double) -> String {
        "Successfully pulled image \"\(name)\" in \(duration(took)) (\(duration(waited)) including waiting)."
            + " Image size: \(image.sizeBytes) bytes."
    }

    package static func failed(_ name: String, _ error: any Error) -> String {
        if let error = error as? ImageError, error.kind == .invalidName {
            return
                "Failed to apply default image tag \"\(name)\": couldn't parse image name \"\(name)\": \(error.message)"
        }
        return "Failed to pull image \"\(name)\": \(error)"
    }

    /// What is said when a registry cannot be asked for a newer image and the one that is here is taken; nil when the
    /// registry did answer, so that its answer counts.
    package static func unreachable(_ name: String, _ error: any Error) -> String? {
        guard let error = error as? ImageError, error.kind == .unreachable else { return nil }
        return "Image \"\(name)\" is started as it is on this machine, for its registry cannot be asked for a newer one"
            + " (imagePullPolicy: Always, which is the default of :latest): \(error.reason)."
            + " To start it without asking: a tag other than latest, or imagePullPolicy: IfNotPresent"
    }

    /// Said of a pull that failed though an image of that name is here.
    package static let isHere =
        "; an image of that name is on this machine, but imagePullPolicy is Always, which is the default of :latest, and"
        + " asks the registry: to start what is here give it a tag other than latest, or imagePullPolicy: IfNotPresent"

    package static func reason(_ error: any Error) -> String {
        (error as? ImageError)?.kind == .invalidName ? "InvalidImageName" : "ErrImagePull"
    }

    /// `1.234s` or `87ms`.
    package static func duration(_ seconds: Double) -> String {
        let milliseconds = Int((max(seconds, 0) * 1000).rounded())
        guard milliseconds >= 1000 else { return "\(milliseconds)ms" }
        var fraction = String(milliseconds % 1000)
        fraction = String(repeating: "0", count: 3 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return fraction.isEmpty ? "\(milliseconds / 1000)s" : "\(milliseconds / 1000).\(fraction)s"
    }
}

/// Registry credentials as docker keeps them.
package enum DockerConfiguration {
    /// Those of a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`.
    package static func credentials(in secret: KubeObject) -> [RegistryCredential] {
        func json(_ key: String) -> JSON? {
            secret["data"][key].string.flatMap { Base64.bytes($0) }.flatMap { try? JSON(parsing: $0) }
        }
        let entries = json(".dockerconfigjson")["auths"].object ?? json(".dockercfg").object ?? [:]
        return entries.compactMap { registry, entry in
            var user = entry["username"].string
            var password = entry["password"].string
            if user == nil, let pair = entry["auth"].string.flatMap({ Base64.bytes($0) }) {
                let parts = String(decoding: pair, as: UTF8.self).split(separator: ":", maxSplits: 1)
                if parts.count == 2 { (user, password) = (String(parts[0]), String(parts[1])) }
            }
            guard let user, let password else { return nil }
            return RegistryCredential(registry: registry, username: user, password: password)
        }
    }
}
