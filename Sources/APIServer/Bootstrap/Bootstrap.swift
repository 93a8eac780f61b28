// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// Makes what every cluster has: namespaces, roles, priority classes and the `kubernetes` Service. What is there
    /// already stays, but the Service always leads to the address that is advertised now.
    public func bootstrap() async throws {
        try await start()
        try await mirror.caughtUp()
        let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"].map {
            (GroupVersionResource.namespaces, KubeObject(.namespaces, kind: "Namespace", name: $0))
        }
        let definitions = ResourceRegistry.builtInDefinitions.map {
            (GroupVersionResource.customResourceDefinitions, $0)
        }
        try await refreshPolicy()
        try await ensureAll(namespaces + BootstrapPolicy.objects + Self.priorityClasses + definitions)
        try await ensure(.serviceCIDRs, serviceRange)
        try await mirror.caughtUp()
        milestones.reach(.bootstrapRoles)
        try await publishKubernetesService()
    }

    /// Where Services get their addresses from, for as long as nobody adds another range.
    private var serviceRange: KubeObject {
        var range = KubeObject(.serviceCIDRs, kind: "ServiceCIDR", name: Self.defaultRangeName)
        range["spec"] = ["cidrs": .array([JSON(configuration.serviceCIDR.description)])]
        return range
    }

    private static var priorityClasses: [(GroupVersionResource, KubeObject)] {
        [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)].map { name, value in
            var priority = KubeObject(.priorityClasses, kind: "PriorityClass", name: name)
            priority["value"] = JSON(value)
            priority["description"] = "Used for system critical pods that must not be moved from their current node."
            return (.priorityClasses, priority)
        }
    }

    /// All at once: the store commits writes that come together with one flush.
    private func ensureAll(_ objects: [(GroupVersionResource, KubeObject)]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (resource, object) in objects { group.addTask { try await self.ensure(resource, object) } }
            try await group.waitForAll()
        }
    }

    private var masterUser: UserInfo { UserInfo("system:apiserver", groups: [UserInfo.Group.masters]) }

    private func type(_ resource: GroupVersionResource) throws(StatusError) -> ResourceType {
        guard let type = registry.resource(resource) else {
            throw .internalError("resource \(resource) is missing from the registry")
        }
        return type
    }

    private static func writer(_ type: ResourceType) -> ManagedFields.Writer {
        ManagedFields.Writer(manager: "kube-apiserver", operation: .update, apiVersion: type.apiVersion)
    }

    private func ensure(_ resource: GroupVersionResource, _ object: KubeObject) async throws {
        let type = try type(resource)
        if mirror.object(storageKey(type), object.namespace, object.name) != nil { return }
        do {
            // The definitions are large, and nobody else writes them: their fields have no owners.
            let writer = type.storage == .customResourceDefinitions ? nil : Self.writer(type)
            _ = try await create(object, type, masterUser, dryRun: false, by: writer)
        } catch let error as StatusError where error.reason == "AlreadyExists" {
            return
        }
    }

    /// The Service `kubernetes` and what it leads to.
    private func publishKubernetesService() async throws {
        let port = configuration.advertisePort
        let address = configuration.advertiseAddress.description
        let labels = ["component": "apiserver", "provider": "kubernetes"]
        var service = KubeObject(.services, kind: "Service", name: "kubernetes", namespace: "default", labels: labels)
        let servicePort: JSON = ["name": "https", "port": 443, "protocol": "TCP", "targetPort": JSON(port)]
        service["spec"] = [
            "type": "ClusterIP", "clusterIP": JSON(configuration.serviceCIDR[1]?.description ?? ""),
            "ports": .array([servicePort]), "sessionAffinity": "None",
        ]
        try await ensure(.services, service)
        try await reconcile(.services, service)

        let endpointPort: JSON = ["name": "https", "port": JSON(port), "protocol": "TCP"]
        var endpoints = KubeObject(
            .endpoints, kind: "Endpoints", name: "kubernetes", namespace: "default",
            labels: ["endpointslice.kubernetes.io/skip-mirror": "true"])
        endpoints["subsets"] = .array([
            ["addresses": .array([["ip": JSON(address)]]), "ports": .array([endpointPort])]
        ])
        try await ensure(.endpoints, endpoints)
        try await reconcile(.endpoints, endpoints)

        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "kubernetes", namespace: "default",
            labels: ["kubernetes.io/service-name": "kubernetes"])
        slice["addressType"] = JSON(configuration.advertiseAddress.family == .v4 ? "IPv4" : "IPv6")
        slice["endpoints"] = .array([["addresses": .array([JSON(address)]), "conditions": ["ready": true]]])
        slice["ports"] = .array([endpointPort])
        try await ensure(.endpointSlices, slice)
        try await reconcile(.endpointSlices, slice)
    }

    /// Brings the members of an object that say where the server is up to date.
    private func reconcile(_ resource: GroupVersionResource, _ wanted: KubeObject) async throws {
        let type = try type(resource)
        try await mirror.caughtUp()
        _ = try await modify(type, wanted.namespace, wanted.name, dryRun: false) { old in
            var object = old
            if type.storage == .services {
                object["spec"]["ports"] = wanted["spec"]["ports"]
            } else {
                for member in ["subsets", "endpoints", "ports"] where wanted[member] != nil {
                    object[member] = wanted[member]
                }
            }
            object = type.defaulted(object, registry: registry)
            return object == old ? .keep : .write(object)
        }
    }
}
