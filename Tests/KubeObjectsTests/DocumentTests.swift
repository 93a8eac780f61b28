// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct DocumentTests {
    let discovery = Discovery()
    let openAPI = OpenAPI(.shared)

    @Test func legacyDiscoveryListsResourcesAndSubresources() throws {
        let core = try #require(discovery.resourceList(group: "", version: "v1"))
        #expect(core["groupVersion"] == "v1")
        let entries = try #require(core["resources"].array)
        let pods = try #require(entries.first { $0["name"] == "pods" })
        #expect(pods["shortNames"] == ["po"] && pods["namespaced"] == true && pods["categories"] == ["all"])
        let eviction = try #require(entries.first { $0["name"] == "pods/eviction" })
        #expect(eviction["group"] == "policy" && eviction["version"] == "v1" && eviction["kind"] == "Eviction")
        #expect(discovery.resourceList(group: "apps", version: "v9") == nil)
        #expect(discovery.group(named: "apps")?["preferredVersion"]["groupVersion"] == "apps/v1")
        #expect(discovery.group(named: "autoscaling")?["preferredVersion"]["version"] == "v2")
        #expect(discovery.group(named: "nothing") == nil)
        #expect(discovery.coreVersions(serverAddress: "1.2.3.4:8443")["versions"] == ["v1"])
    }

    @Test func kubernetesPoliciesComeBeforeCalicos() throws {
        let names = try #require(discovery.groupList()["groups"].array).compactMap { $0["name"].string }
        let kubernetes = try #require(names.firstIndex(of: "networking.k8s.io"))
        let calico = try #require(names.firstIndex(of: "projectcalico.org"))
        let storage = try #require(names.firstIndex(of: "crd.projectcalico.org"))
        #expect(kubernetes < calico && calico < storage)
    }

    @Test func aggregatedDiscoveryHoldsTheSame() throws {
        let core = discovery.aggregated(core: true, as: .v2)
        #expect(core["items"].array?.count == 1 && core["apiVersion"] == "apidiscovery.k8s.io/v2")
        let rest = try #require(discovery.aggregated(core: false, as: .v2beta1)["items"].array)
        let apps = try #require(rest.first { $0["metadata"]["name"] == "apps" })
        let deployments = try #require(
            apps["versions"][0]["resources"].array?.first { $0["resource"] == "deployments" })
        #expect(deployments["responseKind"] == ["group": "apps", "version": "v1", "kind": "Deployment"])
        #expect(deployments["subresources"].array?.map { $0["subresource"] ?? "" } == ["scale", "status"])
    }

    @Test func theThirdVersionDescribesPatches() throws {
        let document = try JSON(parsing: try #require(openAPI.v3("apis/apps/v1")).bytes)
        let path = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
        #expect(path["x-kubernetes-group-version-kind"] == ["group": "apps", "kind": "Deployment", "version": "v1"])
        #expect(path["parameters"].array?.contains { $0["name"] == "fieldValidation" } == true)
        #expect(path["requestBody"]["content"]["application/strategic-merge-patch+json"] != nil)
        let schemas = document["components"]["schemas"]
        let containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
        #expect(
            containers["x-kubernetes-patch-merge-key"] == "name" && containers["x-kubernetes-patch-strategy"] == "merge"
        )
        #expect(openAPI.v3("apis/nothing/v1") == nil && openAPI.v3("x") == nil)
        let index = try JSON(parsing: openAPI.v3Index().bytes)
        #expect(index["paths"]["api/v1"]["serverRelativeURL"].string?.hasPrefix("/openapi/v3/api/v1?hash=") == true)
    }

    @Test func everyReferenceOfADocumentIsInIt() throws {
        for path in openAPI.v3Paths {
            let document = try JSON(parsing: try #require(openAPI.v3(path)).bytes)
            let schemas = try #require(document["components"]["schemas"].object)
            let known = Set(schemas.keys)
            var missing = Set<String>()
            func check(_ value: JSON) {
                switch value {
                case .object(let members):
                    for (key, member) in members {
                        if key == "$ref", let name = member.string {
                            let name = String(name.dropFirst("#/components/schemas/".count))
                            if !known.contains(name) { missing.insert(name) }
                        } else {
                            check(member)
                        }
                    }
                case .array(let elements): elements.forEach(check)
                default: break
                }
            }
            check(document)
            #expect(missing.isEmpty, "\(path)")
        }
    }

    /// Generated clients name their functions by these.
    @Test func everyOperationHasANameOfItsOwnAndATypeThatIsThere() throws {
        let second = try JSON(parsing: openAPI.v2().bytes)
        var documents = [(second["paths"].object ?? [:], Set(second["definitions"].object?.keys ?? []))]
        for path in openAPI.v3Paths {
            let document = try JSON(parsing: try #require(openAPI.v3(path)).bytes)
            documents.append(
                (document["paths"].object ?? [:], Set(document["components"]["schemas"].object?.keys ?? [])))
        }
        for (paths, types) in documents {
            var seen = Set<String>()
            for (path, item) in paths {
                for (method, operation) in item.object ?? [:] {
                    let id = operation["operationId"].string ?? ""
                    #expect(!id.isEmpty && seen.insert(id).inserted, "\(method) \(path): \(id)")
                    #expect(operation["responses"]["200"] != nil, "\(id)")
                    for step in path.split(separator: "/") where step.hasPrefix("{") {
                        let name = JSON(String(step.dropFirst().dropLast()))
                        #expect(operation["parameters"].array?.contains { $0["name"] == name } == true, "\(path)")
                    }
                    for reference in Self.references(operation) { #expect(types.contains(reference), "\(id)") }
                }
            }
            #expect(seen.count > 1)
        }
    }

    private static func references(_ value: JSON) -> [String] {
        switch value {
        case .object(let members):
            members.flatMap { key, member in
                key == "$ref" ? [String(member.string?.split(separator: "/").last ?? "")] : references(member)
            }
        case .array(let elements): elements.flatMap(references)
        default: []
        }
    }

    @Test func subresourcesHaveTheirPaths() throws {
        let core = try JSON(parsing: try #require(openAPI.v3("api/v1")).bytes)["paths"]
        let pod = "/api/v1/namespaces/{namespace}/pods/{name}"
        #expect(core[pod]["get"]["operationId"] == "readCoreV1NamespacedPod")
        #expect(core["/api/v1/pods"]["get"]["operationId"] == "listCoreV1PodForAllNamespaces")
        #expect(
            core[pod + "/status"]["patch"]["parameters"].array?.contains { $0["name"] == "fieldValidation" } == true)
        #expect(core[pod + "/eviction"]["post"]["x-kubernetes-group-version-kind"]["kind"] == "Eviction")
        #expect(core[pod + "/log"]["get"]["responses"]["200"]["content"]["text/plain"] != nil)
        #expect(core[pod + "/exec"]["post"]["x-kubernetes-action"] == "connect")
        #expect(core["/api/v1/nodes/{name}/proxy/{path}"]["get"] != nil)
        let apps = try JSON(parsing: try #require(openAPI.v3("apis/apps/v1")).bytes)["paths"]
        let scale = apps["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
        #expect(
            scale["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].string?
                .hasSuffix("autoscaling.v1.Scale") == true)
    }

    private func inner(_ message: [UInt8]?, _ number: Int) -> [[UInt8]] { Wire.fields(message ?? [])[number] ?? [] }
    private func text(_ message: [UInt8]?, _ number: Int) -> String {
        String(decoding: inner(message, number).first ?? [], as: UTF8.self)
    }

    /// The numbers are those of gnostic's OpenAPIv3.proto.
    @Test func theThirdVersionHasAProtobufForm() throws {
        let bytes = try #require(openAPI.v3Protobuf("apis/apps/v1")).bytes
        #expect(bytes.starts(with: [0x0A, 0x05] + Array("3.0.0".utf8)))
        #expect(openAPI.v3Protobuf("apis/none/v1") == nil)
        let paths = inner(inner(bytes, 4).first, 1).map { text($0, 1) }
        #expect(paths.contains("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"))
        let schemas = inner(inner(inner(bytes, 5).first, 1).first, 1)
        let deployment = try #require(schemas.first { text($0, 1) == "io.k8s.api.apps.v1.Deployment" })
        let schema = inner(inner(deployment, 2).first, 1).first
        #expect(text(schema, 25) == "object" && text(schema, 34).hasPrefix("Keeps a number of equal pods running"))
        #expect(!inner(schema, 31).isEmpty && !inner(schema, 36).isEmpty)
        let specification = try #require(schemas.first { text($0, 1) == "io.k8s.api.apps.v1.DeploymentSpec" })
        let required = inner(inner(inner(specification, 2).first, 1).first, 23).map {
            String(decoding: $0, as: UTF8.self)
        }
        #expect(Set(required) == ["selector", "template"])
    }

    @Test func customResourcesTakeNoStrategicPatch() throws {
        let document = try JSON(parsing: try #require(openAPI.v3("apis/projectcalico.org/v3")).bytes)
        let content = document["paths"]["/apis/projectcalico.org/v3/ippools/{name}"]["patch"]["requestBody"]["content"]
        #expect(
            content["application/merge-patch+json"] != nil && content["application/strategic-merge-patch+json"] == nil)
        #expect(
            document["components"]["schemas"]["org.projectcalico.v3.IPPool"]["properties"]["spec"]["properties"]["cidr"]
                != nil)
    }

    /// The numbers are those of gnostic's OpenAPIv2.proto.
    @Test func theSecondVersionHasAProtobufForm() throws {
        let bytes = openAPI.v2Protobuf().bytes
        #expect(bytes.starts(with: [0x0A, 0x03, 0x32, 0x2E, 0x30]))
        #expect(bytes.count > 100_000)
        #expect(openAPI.v2Protobuf().hash == openAPI.v2Protobuf().hash)
        let item = try #require(
            inner(inner(bytes, 8).first, 2).first {
                text($0, 1) == "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
            })
        let replace = try #require(inner(inner(item, 2).first, 3).first)
        #expect(text(replace, 5) == "replaceAppsV1NamespacedDeployment")
        #expect(inner(inner(replace, 9).first, 1).map { text($0, 1) }.contains("200"))
        let definitions = inner(inner(bytes, 9).first, 1)
        let specification = try #require(definitions.first { text($0, 1) == "io.k8s.api.apps.v1.DeploymentSpec" })
        let schema = inner(specification, 2).first
        #expect(Set(inner(schema, 19).map { String(decoding: $0, as: UTF8.self) }) == ["selector", "template"])
        #expect(inner(inner(schema, 25).first, 1).map { text($0, 1) }.contains("replicas"))
    }
}

/// The fields of a protobuf message that have a length, by number.
private enum Wire {
    static func fields(_ bytes: [UInt8]) -> [Int: [[UInt8]]] {
        var result: [Int: [[UInt8]]] = [:]
        var offset = 0
        func varint() -> Int {
            var value = 0
            var shift = 0
            while offset < bytes.count {
                let byte = bytes[offset]
                offset += 1
                value |= Int(byte & 0x7F) << shift
                shift += 7
                if byte & 0x80 == 0 { break }
            }
            return value
        }
        while offset < bytes.count {
            let key = varint()
            switch key & 7 {
            case 0: _ = varint()
            case 1: offset += 8
            case 2:
                let length = varint()
                result[key >> 3, default: []].append(Array(bytes[offset..<offset + length]))
                offset += length
            default: return result
            }
        }
        return result
    }
}

@Suite struct TableTests {
    func row(_ resource: GroupVersionResource, _ text: String) throws -> [JSON] {
        let type = try #require(ResourceRegistry.shared.resource(resource))
        let table = TableRenderer(type).table(
            [KubeObject(try JSON(parsing: text))], include: .none, now: Timestamp("2026-01-01T01:00:00Z") ?? .now)
        return try #require(table["rows"][0]["cells"].array)
    }

    static let created = #""creationTimestamp":"2026-01-01T00:00:00Z""#

    static let pods: [(String, [JSON])] = [
        (
            #"{"metadata":{"name":"a",\#(created)},"spec":{"containers":[{"name":"c"}],"nodeName":"n"},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}],"containerStatuses":[{"ready":true,"restartCount":2,"state":{"running":{}},"lastState":{"terminated":{"finishedAt":"2026-01-01T00:55:00Z"}}}]}}"#,
            ["a", "1/1", "Running", "2 (5m ago)", "60m", "10.0.0.1", "n", "<none>", "<none>"]
        ),
        (
            #"{"metadata":{"name":"a",\#(created)},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ImagePullBackOff"}}}]}}"#,
            ["a", "0/1", "ImagePullBackOff", "0", "60m", "<none>", "<none>", "<none>", "<none>"]
        ),
        (
            #"{"metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z",\#(created)},"spec":{"containers":[{},{}]},"status":{"phase":"Running"}}"#,
            ["a", "0/2", "Terminating", "0", "60m", "<none>", "<none>", "<none>", "<none>"]
        ),
        (
            #"{"metadata":{"name":"a",\#(created)},"spec":{"initContainers":[{"name":"i"},{"name":"j"}],"containers":[{}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"j","state":{"running":{}}}]}}"#,
            ["a", "0/1", "Init:1/2", "0", "60m", "<none>", "<none>", "<none>", "<none>"]
        ),
        (
            #"{"metadata":{"name":"a",\#(created)},"spec":{"containers":[{}]},"status":{"phase":"Failed","containerStatuses":[{"state":{"terminated":{"exitCode":137,"signal":9}}}]}}"#,
            ["a", "0/1", "Signal:9", "0", "60m", "<none>", "<none>", "<none>", "<none>"]
        ),
    ]

    @Test(arguments: pods)
    func podRows(_ text: String, _ cells: [JSON]) throws { #expect(try row(.pods, text) == cells) }

    @Test func otherRows() throws {
        #expect(
            try row(
                .services,
                #"{"metadata":{"name":"s",\#(Self.created)},"spec":{"type":"NodePort","clusterIP":"10.96.0.7","selector":{"app":"x"},"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}]}}"#
            )
                == ["s", "NodePort", "10.96.0.7", "<none>", "80:30080/TCP", "60m", "app=x"])
        #expect(
            try row(
                .deployments,
                #"{"metadata":{"name":"d",\#(Self.created)},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"readyReplicas":1,"updatedReplicas":2,"availableReplicas":1}}"#
            )
                == ["d", "1/2", 2, 1, "60m", "c", "i", "a=b"])
        #expect(
            try row(
                .nodes,
                #"{"metadata":{"name":"n","labels":{"node-role.kubernetes.io/control-plane":""},\#(Self.created)},"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"kubeletVersion":"v1"}}}"#
            )
            .prefix(5) == ["n", "Ready,SchedulingDisabled", "control-plane", "60m", "v1"])
        #expect(
            try row(
                GroupVersionResource("projectcalico.org", "v3", "ippools"),
                #"{"metadata":{"name":"p",\#(Self.created)},"spec":{"cidr":"10.0.0.0/16","natOutgoing":true,"vxlanMode":"Always","ipipMode":"Never"},"status":{"conditions":[{"type":"Allocatable","status":"True"}]}}"#
            )
                == ["p", "10.0.0.0/16", "Always", "Never", true, "True", "60m"])
        #expect(try row(.ipPools, #"{"metadata":{"name":"p"}}"#) == ["p", "<unknown>"])
    }

    @Test func otherVersionsOfAnObjectShowTheSameRow() throws {
        let core =
            #"{"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"message":"hello","reason":"R","type":"Normal","involvedObject":{"kind":"Pod","name":"p"},"lastTimestamp":"2026-01-01T00:59:00Z"}"#
        let newer = try #require(
            ResourceRegistry.shared.resource(GroupVersionResource("events.k8s.io", "v1", "events")))
        let converted = newer.converted(KubeObject(try JSON(parsing: core)))
        let cells = try row(.events, core)
        #expect(cells.prefix(4) == ["60s", "Normal", "R", "pod/p"])
        #expect(try row(newer.resource, converted.json.text()) == cells)
    }

    @Test func rowsCarryWhatIsAskedFor() throws {
        let type = try #require(ResourceRegistry.shared.resource(.configMaps))
        let object = KubeObject([
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"], "data": ["a": "b"],
        ])
        let renderer = TableRenderer(type)
        #expect(renderer.table([object])["rows"][0]["object"] == TableRenderer.partialMetadata(object))
        #expect(renderer.table([object], include: .object)["rows"][0]["object"] == object.json)
        #expect(renderer.table([object], withColumns: false)["columnDefinitions"] == [])
        let list = TableRenderer.partialMetadataList([object], listMetadata: ["resourceVersion": "5"])
        #expect(list["kind"] == "PartialObjectMetadataList" && list["items"].array?.count == 1)
    }
}

@Suite struct PatternTests {
    static let cases: [(String, String, Bool)] = [
        ("^a+$", "aaa", true), ("^a+$", "aab", false), ("b", "abc", true), ("^(a|b)*c$", "ababc", true),
        ("^(a|b)*c$", "abad", false),
        ("^(?i)(Drop|Accept)?$", "dROP", true), ("^(?i)(Drop|Accept)?$", "", true),
        ("^(?i)(Drop|Accept)?$", "Deny", false),
        (#"^\d{2,3}$"#, "12", true), (#"^\d{2,3}$"#, "1234", false), ("^[^a-c]$", "d", true), ("^[^a-c]$", "b", false),
        (#"^[a-z\-]+$"#, "a-b", true), ("^.$", "ü", true), ("^x?y{0}$", "x", true), (#"^a\.b$"#, "a.b", true),
        (#"^a\.b$"#, "axb", false),
        ("^(?:ab)+$", "abab", true), ("(((", "anything", true),
        (#"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$"#, "1h30m", true),
        (#"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$"#, "1h30x", false),
    ]

    @Test(arguments: cases)
    func matching(_ pattern: String, _ text: String, _ expected: Bool) {
        #expect(Pattern(pattern).matches(text) == expected)
    }

    /// An engine that tries one way after another would need longer than the universe lasts.
    @Test func nestedRepetitionIsLinear() {
        let text = String(repeating: "s", count: 4000) + "!"
        #expect(!Pattern(#"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$"#).matches(text))
    }
}
