// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct RegistryTests {
    let registry = ResourceRegistry.shared

    @Test func resourcesAreFoundByPathAndKind() throws {
        let pods = try #require(registry.resource(.pods))
        #expect(pods.kind == "Pod" && pods.isNamespaced && pods.shortNames == ["po"])
        #expect(pods.subresource("eviction")?.kind == GroupVersionKind("policy", "v1", "Eviction"))
        #expect(pods.subresource("status")?.kind == GroupVersionKind("", "v1", "Pod"))
        #expect(registry.resource(forKind: GroupVersionKind("apps", "v1", "Deployment"))?.resource == .deployments)
        #expect(registry.resource(GroupVersionResource("apps", "v1", "nothing")) == nil)
    }

    @Test func everyResourceHasASchemaWhoseReferencesResolve() {
        func check(_ schema: Schema, _ seen: inout Set<String>, _ path: String) {
            switch schema.shape {
            case .reference(let name):
                guard seen.insert(name).inserted else { return }
                guard let target = registry.schema(named: name) else {
                    Issue.record("\(path) refers to \(name), which is not there")
                    return
                }
                check(target, &seen, name)
            case .object(let fields): for field in fields { check(field.schema, &seen, "\(path).\(field.name)") }
            case .map(let element), .list(let element): check(element, &seen, path)
            default: break
            }
        }
        var seen = Set<String>()
        for type in registry.resources {
            guard let schema = registry.schema(of: type) else {
                Issue.record("\(type.resource) has no schema")
                continue
            }
            check(schema, &seen, type.typeName)
        }
        #expect(seen.count > 300)
    }

    @Test func calicoKindsShareTheirObjectsBetweenGroups() throws {
        let v1 = try #require(registry.resource(.ipamConfigs))
        let v3 = try #require(registry.resource(GroupVersionResource("projectcalico.org", "v3", "ipamconfigurations")))
        #expect(v1.storage == v3.storage)
        #expect(v3.shortNames.contains("ipamconfig") && v1.shortNames.isEmpty)
        let object = KubeObject([
            "apiVersion": "projectcalico.org/v3", "kind": "IPAMConfiguration", "metadata": ["name": "default"],
        ])
        let converted = v1.converted(object)
        #expect(converted.apiVersion == "crd.projectcalico.org/v1" && converted.kind == "IPAMConfig")
        #expect(v3.converted(converted) == object)
    }

    @Test func blockAffinitiesSpellTheirFlagByGroup() throws {
        let v3 = try #require(registry.resource(GroupVersionResource("projectcalico.org", "v3", "blockaffinities")))
        let v1 = try #require(registry.resource(.blockAffinities))
        let object = KubeObject([
            "apiVersion": "crd.projectcalico.org/v1", "kind": "BlockAffinity", "spec": ["deleted": "true"],
        ])
        #expect(v3.converted(object)["spec"]["deleted"] == true)
        #expect(v1.converted(v3.converted(object))["spec"]["deleted"] == "true")
    }

    @Test func eventsAreOneObjectInTwoGroups() throws {
        let newer = try #require(registry.resource(GroupVersionResource("events.k8s.io", "v1", "events")))
        let core = try #require(registry.resource(.events))
        #expect(newer.storage == core.storage)
        let event = KubeObject([
            "apiVersion": "v1", "kind": "Event", "message": "hello", "involvedObject": ["kind": "Pod"], "count": 3,
        ])
        let converted = newer.converted(event)
        #expect(
            converted["note"] == "hello" && converted["regarding"]["kind"] == "Pod" && converted["deprecatedCount"] == 3
        )
        #expect(core.converted(converted) == event)
    }

    @Test func autoscalersAreConverted() throws {
        let v1 = try #require(registry.resource(GroupVersionResource("autoscaling", "v1", "horizontalpodautoscalers")))
        let v2 = try #require(registry.resource(GroupVersionResource("autoscaling", "v2", "horizontalpodautoscalers")))
        let object = KubeObject([
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": ["maxReplicas": 3, "targetCPUUtilizationPercentage": 70],
        ])
        let newer = v2.converted(object)
        #expect(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70)
        #expect(newer["spec"]["targetCPUUtilizationPercentage"] == nil)
        #expect(v1.converted(newer) == object)
    }
}
