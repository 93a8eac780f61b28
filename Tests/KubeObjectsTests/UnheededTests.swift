// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

@testable import KubeObjects

/// What is accepted and acted upon by nobody.
@Suite struct UnheededTests {
    private static func object(_ apiVersion: String, _ kind: String, _ members: JSON = [:]) -> KubeObject {
        var object = members
        object["apiVersion"] = JSON(apiVersion)
        object["kind"] = JSON(kind)
        object["metadata"] = ["name": "x"]
        return KubeObject(object)
    }

    /// What is set, and where it is found: one line for each of the tables'.
    static let found: [(apiVersion: String, kind: String, members: JSON, fields: [String])] = [
        ("batch/v1", "Job", [:], [""]), ("batch/v1", "CronJob", [:], [""]), ("apps/v1", "StatefulSet", [:], [""]),
        ("autoscaling/v2", "HorizontalPodAutoscaler", [:], [""]),
        ("autoscaling/v1", "HorizontalPodAutoscaler", [:], [""]), ("v1", "PersistentVolumeClaim", [:], [""]),
        ("networking.k8s.io/v1", "Ingress", [:], [""]), ("networking.k8s.io/v1", "NetworkPolicy", [:], [""]),
        ("projectcalico.org/v3", "GlobalNetworkPolicy", [:], [""]),
        ("crd.projectcalico.org/v1", "HostEndpoint", [:], [""]),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", [:], [""]),
        ("v1", "Service", ["spec": ["trafficDistribution": "PreferClose"]], ["spec.trafficDistribution"]),
        (
            "v1", "Service",
            ["spec": ["trafficDistribution": "PreferClose", "ipFamilyPolicy": "RequireDualStack"]],
            ["spec.trafficDistribution", "spec.ipFamilyPolicy"]
        ),
        (
            "v1", "Pod",
            [
                "spec": [
                    "resources": ["limits": ["cpu": "1"]],
                    "containers": [[:], ["securityContext": ["seLinuxOptions": ["level": "s0"]]]],
                ]
            ], ["spec.resources", "spec.containers[1].securityContext.seLinuxOptions"]
        ),
        (
            "apps/v1", "Deployment",
            ["spec": ["template": ["spec": ["securityContext": ["windowsOptions": [:]]]]]],
            ["spec.template.spec.securityContext.windowsOptions"]
        ),
        ("apiregistration.k8s.io/v1", "APIService", ["spec": ["service": ["name": "m"]]], ["spec.service"]),
        ("node.k8s.io/v1", "RuntimeClass", ["handler": "gvisor"], ["handler"]),
        (
            "apiextensions.k8s.io/v1", "CustomResourceDefinition", ["spec": ["conversion": ["strategy": "Webhook"]]],
            ["spec.conversion.strategy"]
        ),
    ]

    @Test(arguments: found)
    func isNamed(_ apiVersion: String, _ kind: String, _ members: JSON, _ fields: [String]) {
        let facts = Unheeded.facts(Self.object(apiVersion, kind, members))
        #expect(facts.map(\.field) == fields)
        for fact in facts {
            #expect(fact.warning == "\(fact.field.isEmpty ? kind : fact.field) is stored; \(fact.message)")
        }
    }

    @Test(
        arguments: [
            (
                "v1", "Service",
                [
                    "spec": [
                        "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
                        "internalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["10.0.0.0/8"],
                    ]
                ]
            ),
            ("v1", "Pod", ["spec": ["securityContext": ["runAsUser": 7], "containers": [["name": "c"]]]]),
            ("apps/v1", "Deployment", ["spec": ["template": ["spec": ["containers": [[:]]]]]]),
            ("v1", "ConfigMap", [:]), ("node.k8s.io/v1", "RuntimeClass", ["handler": "crun"]),
            ("apiregistration.k8s.io/v1", "APIService", ["spec": ["group": "apps"]]),
            // Of the same name in another group.
            ("example.com/v1", "Job", [:]),
        ] as [(String, String, JSON)])
    func isNotNamed(_ apiVersion: String, _ kind: String, _ members: JSON) {
        #expect(Unheeded.facts(Self.object(apiVersion, kind, members)).isEmpty)
    }

    @Test func onlyWhoAsksForItHearsOfIt() {
        let old = Self.object("v1", "Service", ["spec": ["trafficDistribution": "PreferClose"]])
        var new = old
        new["status"] = ["loadBalancer": [:]]
        new.metadata["labels"] = ["a": "b"]
        #expect(Unheeded.facts(new, old: old).isEmpty)
        new["spec"]["ports"] = [["port": 80]]
        #expect(Unheeded.facts(new, old: old).count == 1)
    }

    /// A line that names nothing would never be found.
    @Test func everyLineNamesWhatThereIs() throws {
        let registry = ResourceRegistry.shared
        func type(_ kind: Unheeded.GroupKind) throws -> ResourceType {
            try #require(
                registry.resources.first { $0.group == kind.group && $0.kind == kind.kind },
                "\(kind.group) \(kind.kind)")
        }
        func exists(_ path: [String], in schema: Schema?) -> Bool {
            var schema = schema.map(registry.resolve)
            for step in path { schema = schema?.field(step).map(registry.resolve) }
            return schema != nil
        }
        for kind in Unheeded.kinds.keys { _ = try type(kind) }
        for (kind, lines) in Unheeded.fields {
            let schema = registry.schema(of: try type(kind))
            for line in lines { #expect(exists(line.path, in: schema), "\(kind.kind) \(line.path)") }
        }
        for (kind, path) in Unheeded.podSpecs { #expect(exists(path, in: registry.schema(of: try type(kind)))) }
        for line in PodLines.ofPods {
            #expect(exists(line.path, in: registry.schema(named: "io.k8s.api.core.v1.PodSpec")), "\(line.path)")
        }
        for line in PodLines.ofContainers {
            #expect(exists(line.path, in: registry.schema(named: "io.k8s.api.core.v1.Container")), "\(line.path)")
        }
    }
}
