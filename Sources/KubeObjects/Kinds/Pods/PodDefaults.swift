// SPDX-License-Identifier: Apache-2.0

public import Values

/// What pods and the templates of pods have when nobody says otherwise.
enum PodDefaults {
    /// A pod: a template's defaults, and what is decided only when a pod is made.
    static func pod(_ pod: inout JSON) {
        pod.make("spec") { spec in
            self.spec(&spec)
            spec.fill("enableServiceLinks", true)
            let usesHostNetwork = spec["hostNetwork"].bool ?? false
            for list in ["initContainers", "containers"] {
                spec.each(list) { container in
                    container.change("resources", requestsFromLimits)
                    if usesHostNetwork {
                        container.each("ports") { port in
                            if let number = port["containerPort"].int { port.fillNumber("hostPort", number) }
                        }
                    }
                }
            }
            spec.change("resources", requestsFromLimits)
        }
    }

    /// The template of a controller, a member of `owner`.
    static func template(in owner: inout JSON) {
        owner.make("template") { template in
            template.make("metadata") { _ in }
            template.make("spec", spec)
        }
    }

    static func spec(_ spec: inout JSON) {
        spec.fillText("restartPolicy", "Always")
        spec.fill("terminationGracePeriodSeconds", 30)
        spec.fillText("dnsPolicy", "ClusterFirst")
        spec.fillText("schedulerName", "default-scheduler")
        spec.fill("securityContext", .object([:]))
        // The older name of the same field is kept alike.
        if let name = spec["serviceAccountName"].string ?? spec["serviceAccount"].string, !name.isEmpty {
            spec["serviceAccountName"] = JSON(name)
            spec["serviceAccount"] = JSON(name)
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] { spec.each(list, container) }
        spec.each("volumes", volume)
    }

    private static func requestsFromLimits(_ resources: inout JSON) {
        guard let limits = resources["limits"].object, !limits.isEmpty else { return }
        resources.make("requests") { requests in
            for (name, amount) in limits { requests.fill(name, amount) }
        }
    }

    static func container(_ container: inout JSON) {
        container.fillText("terminationMessagePath", "/dev/termination-log")
        container.fillText("terminationMessagePolicy", "File")
        let image = container["image"].string ?? ""
        container.fillText("imagePullPolicy", pullPolicy(image))
        container.fill("resources", .object([:]))
        container.each("ports") { $0.fillText("protocol", "TCP") }
        container.each("env") { variable in
            variable.change("valueFrom") { $0.change("fieldRef", fieldReference) }
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] { container.change(probe, self.probe) }
        container.change("lifecycle") { lifecycle in
            for hook in ["postStart", "preStop"] { lifecycle.change(hook) { $0.change("httpGet", httpGet) } }
        }
    }

    private static func fieldReference(_ reference: inout JSON) { reference.fillText("apiVersion", "v1") }

    private static func httpGet(_ action: inout JSON) {
        action.fillText("path", "/")
        action.fillText("scheme", "HTTP")
    }

    private static func probe(_ probe: inout JSON) {
        probe.fillNumber("timeoutSeconds", 1)
        probe.fillNumber("periodSeconds", 10)
        probe.fillNumber("successThreshold", 1)
        probe.fillNumber("failureThreshold", 3)
        probe.change("httpGet", httpGet)
        probe.change("grpc") { $0.fill("service", "") }
    }

    /// An image without a tag, or with the tag latest, may change behind its name.
    private static func pullPolicy(_ image: String) -> String {
        if image.contains("@") { return "IfNotPresent" }
        let name = image.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        guard let colon = name.lastIndex(of: ":") else { return "Always" }
        return name[colon...] == ":latest" ? "Always" : "IfNotPresent"
    }

    private static func volume(_ volume: inout JSON) {
        if volume.object?.count ?? 0 == 1, volume["name"] != nil { volume["emptyDir"] = .object([:]) }
        for source in ["secret", "configMap", "downwardAPI", "projected"] {
            volume.change(source) { $0.fill("defaultMode", 420) }
        }
        VolumeSourceDefaults.fill(&volume)
        volume.change("image") { source in
            let reference = source["reference"].string ?? ""
            source.fillText("pullPolicy", reference.isEmpty ? "IfNotPresent" : pullPolicy(reference))
        }
        for source in ["secret", "configMap", "downwardAPI", "projected"] {
            volume.change(source) { $0.fill("defaultMode", 420) }
        }
        VolumeSourceDefaults.fill(&volume)
        volume.change("image") { source in
            if let reference = source["reference"].string { source.fillText("pullPolicy", pullPolicy(reference)) }
        }
        volume.change("downwardAPI", downwardItems)
        volume.change("projected") { projected in
            projected.each("sources") { source in
                source.change("serviceAccountToken") { $0.fill("expirationSeconds", 3600) }
                source.change("downwardAPI", downwardItems)
            }
        }
        volume.change("ephemeral") { ephemeral in
            ephemeral.change("volumeClaimTemplate") { $0.change("spec") { $0.fillText("volumeMode", "Filesystem") } }
        }
    }

    private static func downwardItems(_ source: inout JSON) {
        source.each("items") { $0.change("fieldRef", fieldReference) }
    }
}

/// How sure a pod can be of its resources.
public enum QualityOfService {
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    public static func of(podSpec spec: JSON?) -> String {
        let containers = (spec["containers"].array ?? []) + (spec["initContainers"].array ?? [])
        var anything = false
        var guaranteed = !containers.isEmpty
        for container in containers {
            for resource in ["cpu", "memory"] {
                let limit = amount(container["resources"]["limits"][resource])
                let request = amount(container["resources"]["requests"][resource])
                if !limit.isZero || !request.isZero { anything = true }
                if limit.isZero || limit != request { guaranteed = false }
            }
        }
        return !anything ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable"
    }

    private static func amount(_ value: JSON?) -> Quantity { value.string.flatMap { Quantity($0) } ?? .zero }
}
