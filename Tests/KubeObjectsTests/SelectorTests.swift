// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct SelectorTests {
    static let labels = ["app": "web", "tier": "front", "count": "5"]

    @Test(arguments: [
        ("", true), ("app=web", true), ("app==web", true), ("app=db", false), ("app!=db", true), ("missing!=x", true),
        ("app in (web, db)", true), ("app in (db)", false), ("app notin (db)", true), ("missing notin (a)", true),
        ("app", true), ("missing", false), ("!app", false), ("!missing", true), ("app=web,tier=front", true),
        ("app=web,tier=back", false), ("count>4", true), ("count<5", false), ("app>1", false), (" app = web ", true),
        ("app=", false), ("app in (web),!missing,tier", true),
    ])
    func stringForm(_ text: String, _ matches: Bool) throws {
        #expect(try LabelSelector(text).matches(Self.labels) == matches)
    }

    @Test(arguments: [
        "=web", "app in web", "app in (web", "a=b=c", "app,", "app ! web", "-x=1", "app in", "a b", "x>y",
    ])
    func refused(_ text: String) { #expect(throws: LabelSelector.ParseError.self) { try LabelSelector(text) } }

    @Test func objectForm() throws {
        let object: JSON = [
            "matchLabels": ["app": "web"],
            "matchExpressions": [
                ["key": "tier", "operator": "In", "values": ["front", "back"]],
                ["key": "old", "operator": "DoesNotExist"],
            ],
        ]
        let selector = try LabelSelector(object: object)
        #expect(selector.matches(Self.labels))
        #expect(selector.description == "app=web,tier in (back,front),!old")
        #expect(try LabelSelector(selector.description).matches(Self.labels))
        #expect(try LabelSelector(object: [:]).matches([:]))
        #expect(try !LabelSelector(object: nil).matches([:]))
        #expect(throws: LabelSelector.ParseError.self) {
            try LabelSelector(object: ["matchExpressions": [["key": "a", "operator": "Near"]]])
        }
    }

    @Test func fieldSelectors() throws {
        let pods = try #require(ResourceRegistry.shared.resource(.pods))
        let pod = KubeObject([
            "metadata": ["name": "a", "namespace": "b"], "spec": ["nodeName": "n1"], "status": ["phase": "Running"],
        ])
        func matches(_ text: String) throws -> Bool { try FieldSelector(text).matches(pod, of: pods) }
        #expect(try matches("spec.nodeName=n1,status.phase!=Failed,status.phase!=Succeeded"))
        #expect(try matches("metadata.name==a,metadata.namespace=b"))
        #expect(try !matches("spec.nodeName="))
        #expect(try matches("spec.hostNetwork=false"))
        #expect(try FieldSelector("spec.nodeName=x").required("spec.nodeName") == "x")
        #expect(try FieldSelector("spec.other=x").problem(for: pods) == "field label not supported: spec.other")
        #expect(try FieldSelector("status.podIP=x").problem(for: pods) == nil)
        #expect(throws: FieldSelector.ParseError.self) { try FieldSelector("name") }
        #expect(try FieldSelector(#"a=b\,c\=d"#).terms.map(\.value) == ["b,c=d"])
        let maps = try #require(ResourceRegistry.shared.resource(.configMaps))
        #expect(
            try FieldSelector("data.x=1").problem(for: maps)
                == "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }
}
