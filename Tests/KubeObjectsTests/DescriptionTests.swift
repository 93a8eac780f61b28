// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

@testable import KubeObjects

/// What `kubectl explain` says in words.
@Suite struct DescriptionTests {
    private let descriptions = Descriptions.shared
    private let registry = ResourceRegistry.shared

    /// By the short names that the file uses.
    private var typeNames: [String: String] {
        let carried = registry.typeNames + registry.resources.map(\.typeName)
        return Dictionary(carried.map { (Descriptions.shortName($0), $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Whether there is such a type, and such a field of it.
    private func exists(_ name: String, _ types: [String: String]) -> Bool {
        let steps = name.split(separator: ".").map(String.init)
        // A group and version of Calico stand for all their kinds.
        if steps.count == 2 { return types.keys.contains { $0.hasPrefix(name + ".") } }
        guard let typeName = types[steps.prefix(3).joined(separator: ".")],
            var schema = registry.schema(named: typeName)
        else { return false }
        for step in steps.dropFirst(3) {
            schema = inner(schema)
            guard let field = schema.field(step) else { return false }
            schema = field
        }
        return true
    }

    /// What a list or a map holds, in the end.
    private func inner(_ schema: Schema) -> Schema {
        switch schema.shape {
        case .list(let element), .map(let element): inner(element)
        default: registry.resolve(schema)
        }
    }

    @Test func noLineNamesWhatDoesNotExist() throws {
        let types = typeNames
        #expect(types.count > 600)
        for name in descriptions.names where !name.hasPrefix("*.") {
            if name.hasSuffix(".*") {
                #expect(exists(String(name.dropLast(2)), types), "\(name)")
                #expect(exists(descriptions.line(name) ?? "", types), "\(name) stands for what does not exist")
            } else {
                #expect(exists(name, types), "\(name)")
                #expect(!(descriptions.line(name) ?? "").isEmpty, "\(name)")
            }
        }
    }

    @Test func everyKindIsExplained() {
        for type in registry.resources {
            #expect(descriptions.text(type.typeName) != nil, "\(type.typeName)")
            for field in registry.schema(of: type)?.fields ?? [] {
                #expect(
                    descriptions.text(type.typeName, [field.name], isKind: true) != nil,
                    "\(type.typeName).\(field.name)")
            }
        }
    }

    /// Kinds of storage that nobody makes any more, and devices, whose kinds are explained but not their every field.
    private static let unexplained =
        [
            "AWSElasticBlockStore", "AzureDisk", "AzureFile", "CephFS", "Cinder", "Flex", "Flocker",
            "GCEPersistentDisk",
            "GitRepo", "Glusterfs", "PhotonPersistentDisk", "Portworx", "Quobyte", "RBD", "ScaleIO", "StorageOS",
            "VsphereVirtualDisk", "ConfigMapNodeConfig", "NodeConfig",
        ].map { "core.v1.\($0)" } + ["resource.v1."]

    @Test func everyFieldOfEveryOtherTypeIsExplained() throws {
        var count = 0
        for name in registry.typeNames {
            let short = Descriptions.shortName(name)
            if Self.unexplained.contains(where: { short.hasPrefix($0) }) { continue }
            let fields = try #require(registry.schema(named: name)).fields
            let isKind = registry.typeEntry(name)["gvk"] != nil
            for field in fields {
                count += 1
                #expect(descriptions.text(name, [field.name], isKind: isKind) != nil, "\(short).\(field.name)")
            }
        }
        #expect(count > 2000)
    }

    @Test func fieldsOfCalicosPoolsAndPoliciesAreExplainedToTheLeaves() throws {
        func check(_ schema: Schema, _ typeName: String, _ path: [String]) {
            for field in inner(schema).fields {
                let below = path + [field.name]
                if path.isEmpty, ["apiVersion", "kind", "metadata"].contains(field.name) { continue }
                #expect(descriptions.text(typeName, below) != nil, "\(typeName) \(below.joined(separator: "."))")
                check(field.schema, typeName, below)
            }
        }
        for kind in [
            "IPPool", "IPReservation", "IPAMConfiguration", "IPAMBlock", "BlockAffinity", "IPAMHandle", "NetworkPolicy",
            "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedKubernetesNetworkPolicy", "Tier", "HostEndpoint",
            "BGPConfiguration", "BGPPeer", "BGPFilter", "NetworkSet", "GlobalNetworkSet", "CalicoNodeStatus",
            "ClusterInformation",
        ] {
            let name = "org.projectcalico.v3.\(kind)"
            check(try #require(registry.schema(named: name)), name, [])
        }
        #expect(
            descriptions.text("org.projectcalico.crd.v1.IPPool", ["spec", "cidr"])
                == descriptions.text("org.projectcalico.v3.IPPool", ["spec", "cidr"]))
    }

    @Test func documentsCarryTheWordsAndTheDefaults() throws {
        let openAPI = OpenAPI(.shared)
        let schemas = try JSON(parsing: try #require(openAPI.v3("api/v1")).bytes)["components"]["schemas"]
        let container = schemas["io.k8s.api.core.v1.Container"]
        #expect(container["description"].string == descriptions.text("io.k8s.api.core.v1.Container"))
        #expect(container["properties"]["image"]["description"].string?.hasPrefix("Image to run") == true)
        let ports = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]
        #expect(ports["protocol"]["default"] == "TCP" && ports["containerPort"]["default"] == 0)
        let pod = schemas["io.k8s.api.core.v1.Pod"]["properties"]
        #expect(pod["spec"]["allOf"][0]["$ref"].string?.hasSuffix("PodSpec") == true && pod["spec"]["default"] == [:])
        let second = try JSON(parsing: openAPI.v2().bytes)["definitions"]
        let port = second["io.k8s.api.core.v1.ContainerPort"]["properties"]
        #expect(port["protocol"]["default"] == "TCP" && port["containerPort"]["default"] == nil)
        #expect(second["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["description"].string?.isEmpty == false)
        let pool = try #require(second["org.projectcalico.v3.IPPool"])
        #expect(pool["properties"]["spec"]["properties"]["natOutgoing"]["description"].string?.isEmpty == false)
        #expect(second["org.projectcalico.v3.IPPoolList"]["properties"]["items"]["items"]["$ref"] != nil)
    }
}
