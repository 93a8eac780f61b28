// SPDX-License-Identifier: Apache-2.0

extension KindDescription {
    /// The kinds that have something special about them.
    static let all: [KindDescription] =
        [
            pod, podTemplate,
            deployment, replicaSet, replicationController, daemonSet, statefulSet, job, cronJob, controllerRevision,
            service, endpoints, endpointSlice, ingress, ingressClass, networkPolicy, ipAddress, serviceCIDR,
            configMap, secret, serviceAccount,
            node, namespace, lease, limitRange, resourceQuota, priorityClass, podDisruptionBudget,
            horizontalPodAutoscaler, runtimeClass, componentStatus,
            persistentVolume, persistentVolumeClaim, storageClass, volumeAttachment, csiNode, csiDriver,
            volumeAttributesClass, csiStorageCapacity,
            certificateSigningRequest, customResourceDefinition, apiService, flowSchema,
            priorityLevelConfiguration,
        ] + events + roles + roleBindings + webhookConfigurations + admissionPolicies + admissionPolicyBindings
        + ipPools + dynamicResources
}
