// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    static let success: JSON = [
        "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "code": 201,
    ]

    /// POST of a pod's `binding`: the scheduler gives the pod to a node.
    func bind(_ context: RequestContext) async throws -> Reply {
        let encoding = try context.plainEncoding()
        let binding = try await BodyDecoding.requiredObject(context.request).object
        try await bind(context, binding, pod: context.name)
        return Reply(Self.success, encoding, status: 201)
    }

    func bind(_ context: RequestContext, _ binding: KubeObject, pod name: String) async throws {
        guard let pods = registry.resource(.pods) else { throw StatusError.noSuchPath() }
        let kind = binding["target"]["kind"].string ?? "Node"
        let node = binding["target"]["name"].string ?? ""
        if !binding.name.isEmpty, binding.name != name {
            throw StatusError.badRequest(
                "name in URL (\(name)) does not match name in Binding object (\(binding.name))")
        }
        var errors: [FieldError] = []
        if !["", "Node"].contains(kind) { errors.append(.notSupported("target.kind", JSON(kind), ["Node"])) }
        if node.isEmpty { errors.append(.required("target.name")) }
        if !errors.isEmpty { throw StatusError.invalid(("", "Binding"), name: name, errors) }
        _ = try await modify(pods, context.info.namespace, name, dryRun: context.isDryRun) { old in
            func refuse(_ why: String) -> StatusError { .conflict(.pods, name: name, why) }
            if !binding.uid.isEmpty, binding.uid != old.uid {
                throw refuse("Precondition failed: UID in precondition: \(binding.uid), UID in object meta: \(old.uid)")
            }
            if old.isBeingDeleted { throw refuse("pod \(name) is being deleted, cannot be assigned to a host") }
            if let taken = old["spec"]["nodeName"].string, !taken.isEmpty {
                throw refuse("pod \(name) is already assigned to node \"\(taken)\"")
            }
            if let gates = old["spec"]["schedulingGates"].array, !gates.isEmpty {
                throw refuse("pod \(name) has non-empty .spec.schedulingGates")
            }
            var object = old
            object["spec"]["nodeName"] = JSON(node)
            for (key, value) in binding.annotations { object.metadata["annotations"][key] = JSON(value) }
            PodConditions.set(&object, "PodScheduled", "True")
            return .write(object)
        }
    }

    /// POST of a pod's `eviction`: a deletion that disruption budgets may refuse.
    func evict(_ context: RequestContext) async throws -> Reply {
        let encoding = try context.plainEncoding()
        let eviction = try await BodyDecoding.requiredObject(context.request).object
        var options = try DeleteOptions(eviction["deleteOptions"] ?? .object([:]))
        if context.isDryRun { options.isDryRun = true }
        let pod = try current(context).object()
        try admission.nodes.checkEviction(pod, context.user)
        let isTerminal = ["Succeeded", "Failed", "Pending"].contains(pod["status"]["phase"].string)
        if !isTerminal, !pod.isBeingDeleted { try await useBudget(pod, isDryRun: options.isDryRun) }
        if !options.isDryRun, !pod.isBeingDeleted {
            _ = try await modify(context.type, context.namespace, context.name, dryRun: false) { old in
                var object = old
                PodConditions.set(
                    &object, "DisruptionTarget", "True", reason: "EvictionByEvictionAPI",
                    message: "Eviction API: evicting")
                return .write(object)
            }
        }
        _ = try await delete(context.type, context.namespace, context.name, options, context.user)
        return Reply(Self.success, encoding, status: 201)
    }

    /// Takes one disruption from the budget that the pod falls under.
    private func useBudget(_ pod: KubeObject, isDryRun: Bool) async throws {
        let resource = GroupVersionResource("policy", "v1", "poddisruptionbudgets")
        guard let type = registry.resource(resource) else { return }
        let budgets = mirror.list(StorageKey(resource), namespace: pod.namespace).objects.map { $0.object() }.filter {
            guard let selector = try? LabelSelector(object: $0["spec"]["selector"]) else { return false }
            return selector.matches(pod.labels)
        }
        guard let budget = budgets.first else { return }
        guard budgets.count == 1 else {
            throw StatusError.internalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
        }
        _ = try await modify(type, budget.namespace, budget.name, dryRun: isDryRun) { old in
            let allowed = old["status"]["disruptionsAllowed"].int ?? 0
            func refuse(_ why: String) -> StatusError {
                // Without a time to wait: clients that are told one try again by themselves, and `kubectl drain` could
                // neither say why it waits nor give up in time.
                .tooManyRequests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    causes: [
                        ["reason": "DisruptionBudget", "message": JSON("The disruption budget \(old.name) \(why)")]
                    ])
            }
            guard (old["status"]["observedGeneration"].int ?? 0) >= old.generation else {
                throw refuse("is still being processed by the server.")
            }
            guard allowed > 0 else {
                let healthy = old["status"]["currentHealthy"].int ?? 0
                let desired = old["status"]["desiredHealthy"].int ?? 0
                throw refuse("needs \(desired) healthy pods and has \(healthy) currently")
            }
            var object = old
            object["status"]["disruptionsAllowed"] = JSON(allowed - 1)
            object["status"]["disruptedPods"][pod.name] = JSON(Timestamp.now.description)
            return .write(object)
        }
    }
}

/// The conditions of a pod that the server itself sets.
enum PodConditions {
    static func set(
        _ pod: inout KubeObject, _ type: String, _ status: String, reason: String? = nil, message: String? = nil
    ) {
        var conditions = pod["status"]["conditions"].array ?? []
        var condition: JSON = [
            "type": JSON(type), "status": JSON(status), "lastProbeTime": .null,
            "lastTransitionTime": JSON(Timestamp.now.description),
        ]
        if let reason { condition["reason"] = JSON(reason) }
        if let message { condition["message"] = JSON(message) }
        if let index = conditions.firstIndex(where: { $0["type"].string == type }) {
            if conditions[index]["status"] == condition["status"] {
                condition["lastTransitionTime"] = conditions[index]["lastTransitionTime"]
            }
            conditions[index] = condition
        } else {
            conditions.append(condition)
        }
        pod["status"]["conditions"] = .array(conditions)
    }
}
