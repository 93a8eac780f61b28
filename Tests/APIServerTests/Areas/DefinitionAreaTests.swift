// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// Custom resources and what is published of them: the areas of upstream's conformance suite.
@Suite struct DefinitionAreaTests {
    private static let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    /// A definition of `foos` in a group of its own.
    private func definition(
        group: String = "example.com", kind: String = "Foo", scope: String = "Namespaced", _ versions: [JSON]
    ) -> JSON {
        let plural = kind.lowercased() + "s"
        return [
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": ["name": JSON("\(plural).\(group)")],
            "spec": [
                "group": JSON(group), "scope": JSON(scope), "versions": .array(versions),
                "names": ["plural": JSON(plural), "singular": JSON(kind.lowercased()), "kind": JSON(kind)],
            ],
        ]
    }

    private func version(_ name: String, _ schema: JSON, served: Bool = true, storage: Bool = true) -> JSON {
        [
            "name": JSON(name), "served": JSON(served), "storage": JSON(storage),
            "schema": ["openAPIV3Schema": schema], "subresources": ["status": [:]],
        ]
    }

    private static let described: JSON = [
        "description": "Foo CRD for Testing", "type": "object",
        "properties": [
            "spec": [
                "type": "object", "description": "Specification of Foo",
                "properties": [
                    "bars": [
                        "type": "array", "description": "List of Bars and their specs.",
                        "items": [
                            "type": "object", "required": ["name"],
                            "properties": [
                                "name": ["type": "string", "description": "Name of Bar."],
                                "age": ["type": "string", "description": "Age of Bar."],
                                "bazs": ["type": "array", "items": ["type": "string"], "description": "List of Bazs."],
                            ],
                        ],
                    ]
                ],
            ],
            "status": ["type": "object", "x-kubernetes-preserve-unknown-fields": true],
        ],
    ]

    private func define(_ fixture: Fixture, _ definition: JSON) async throws -> JSON {
        let answer = try await fixture.send("POST", Self.definitions, definition)
        try #require(answer.status == 201, "\(answer.json)")
        return answer.json
    }

    private func published(_ fixture: Fixture, _ name: String) async throws -> JSON? {
        try await fixture.send("GET", "/openapi/v2").json["definitions"][name]
    }

    /// The change is written over what there is now.
    private func change(_ fixture: Fixture, _ name: String, _ body: (inout JSON) -> Void) async throws -> JSON {
        var object = try await fixture.send("GET", "\(Self.definitions)/\(name)").json
        body(&object)
        let answer = try await fixture.send("PUT", "\(Self.definitions)/\(name)", object)
        try #require(answer.status == 200, "\(answer.json)")
        return answer.json
    }

    @Test("CustomResourcePublishOpenAPI: works for CRD with validation schema")
    func withSchema() async throws {
        let fixture = try await Fixture()
        _ = try await define(fixture, definition([version("v1", Self.described)]))
        let schema = try #require(try await published(fixture, "com.example.v1.Foo"))
        #expect(schema["description"] == "Foo CRD for Testing")
        #expect(schema["properties"]["spec"]["properties"]["bars"]["items"]["required"] == ["name"])
        #expect(schema["properties"]["metadata"]["$ref"].string?.hasSuffix("ObjectMeta") == true)
        #expect(schema["properties"]["apiVersion"]["type"] == "string")
        #expect(
            schema["x-kubernetes-group-version-kind"] == [["group": "example.com", "kind": "Foo", "version": "v1"]])
        #expect(try await published(fixture, "com.example.v1.FooList")?["properties"]["items"]["items"]["$ref"] != nil)
        // Unknown fields are refused where a client asks for it, and dropped otherwise.
        let path = "/apis/example.com/v1/namespaces/default/foos"
        let unknown: JSON = [
            "apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": "f"],
            "spec": ["foo": true, "bars": [["name": "b", "dummy": 1]]],
        ]
        let strict = try await fixture.send("POST", path + "?fieldValidation=Strict", unknown)
        #expect(strict.status == 400 && strict.json["message"].string?.contains(#"unknown field "spec.foo""#) == true)
        let lenient = try await fixture.send("POST", path, unknown)
        #expect(lenient.status == 201 && lenient.json["spec"] == ["bars": [["name": "b"]]])
        let invalid = try await fixture.send(
            "POST", path,
            [
                "apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": "g"],
                "spec": ["bars": [["age": "1"]]],
            ])
        #expect(
            invalid.status == 422
                && invalid.json["message"].string?.contains("spec.bars[0].name: Required value") == true)
    }

    @Test(
        "CustomResourcePublishOpenAPI: works for CRD without validation schema, and preserving unknown fields at the root"
    )
    func withoutSchema() async throws {
        let fixture = try await Fixture()
        _ = try await define(
            fixture, definition([version("v1", ["type": "object", "x-kubernetes-preserve-unknown-fields": true])]))
        let schema = try #require(try await published(fixture, "com.example.v1.Foo"))
        // kubectl would take apiVersion, kind and metadata for all that is allowed.
        #expect(schema["type"] == "object" && schema.object?.count == 2, "\(schema)")
        #expect(schema["x-kubernetes-group-version-kind"][0]["kind"] == "Foo")
        let made = try await fixture.send(
            "POST", "/apis/example.com/v1/namespaces/default/foos?fieldValidation=Strict",
            [
                "apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": "f"], "a": ["b": [["c": "d"]]],
                "spec": ["any": "thing"],
            ])
        #expect(made.status == 201 && made.json["a"]["b"][0]["c"] == "d" && made.json["spec"]["any"] == "thing")
    }

    @Test("CustomResourcePublishOpenAPI: works for CRD preserving unknown fields in an embedded object")
    func embedded() async throws {
        let fixture = try await Fixture()
        let schema: JSON = [
            "type": "object",
            "properties": [
                "spec": [
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": ["known": ["type": "integer"]],
                ],
                "template": [
                    "type": "object", "x-kubernetes-embedded-resource": true,
                    "x-kubernetes-preserve-unknown-fields": true,
                ],
            ],
        ]
        _ = try await define(fixture, definition([version("v1", schema)]))
        #expect(try await published(fixture, "com.example.v1.Foo")?["properties"]["template"] != nil)
        let path = "/apis/example.com/v1/namespaces/default/foos?fieldValidation=Strict"
        let body: JSON = [
            "apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": "f"],
            "spec": ["known": 1, "un": "known"],
            "template": ["apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p"], "spec": ["x": 1]],
        ]
        let made = try await fixture.send("POST", path, body)
        #expect(made.status == 201 && made.json["spec"]["un"] == "known" && made.json["template"]["spec"]["x"] == 1)
        // Metadata within an object is metadata all the same.
        var wrong = body
        wrong["template"]["metadata"]["unknown"] = 1
        wrong["metadata"]["name"] = "g"
        let strict = try await fixture.send("POST", path, wrong)
        #expect(strict.status == 400, "\(strict.json)")
    }

    @Test(
        "CustomResourcePublishOpenAPI: works for multiple CRDs of different groups, of same group but different versions, and of same group and version but different kinds"
    )
    func several() async throws {
        let fixture = try await Fixture()
        _ = try await define(fixture, definition(group: "a.example.com", [version("v1", Self.described)]))
        _ = try await define(fixture, definition(group: "b.example.com", [version("v1", Self.described)]))
        _ = try await define(
            fixture,
            definition(
                group: "a.example.com", kind: "Waldo",
                [version("v1", Self.described), version("v2", Self.described, storage: false)]))
        for name in ["a.v1.Foo", "b.v1.Foo", "a.v1.Waldo", "a.v2.Waldo"] {
            let parts = name.split(separator: ".")
            #expect(try await published(fixture, "com.example.\(parts[0]).\(parts[1]).\(parts[2])") != nil, "\(name)")
        }
        let index = try await fixture.send("GET", "/openapi/v3").json["paths"]
        for path in ["apis/a.example.com/v1", "apis/a.example.com/v2", "apis/b.example.com/v1"] {
            let url = try #require(index[path]["serverRelativeURL"].string)
            let document = try await fixture.send("GET", url)
            #expect(document.status == 200 && document.json["components"]["schemas"] != nil)
        }
    }

    @Test("CustomResourcePublishOpenAPI: updates the published spec when one version gets renamed")
    func renamed() async throws {
        let fixture = try await Fixture()
        _ = try await define(
            fixture, definition([version("v2", Self.described), version("v3", Self.described, storage: false)]))
        for name in ["v2", "v3"] { #expect(try await published(fixture, "com.example.\(name).Foo") != nil) }
        _ = try await change(fixture, "foos.example.com") {
            $0["spec"]["versions"] = .array([
                version("v2", Self.described), version("v4", Self.described, storage: false),
            ])
        }
        #expect(try await published(fixture, "com.example.v3.Foo") == nil)
        #expect(try await published(fixture, "com.example.v4.Foo") != nil)
        #expect(try await published(fixture, "com.example.v2.Foo") != nil)
        #expect(try await fixture.send("GET", "/apis/example.com/v3").status == 404)
    }

    @Test("CustomResourcePublishOpenAPI: removes definition from spec when one version gets changed to not be served")
    func unserved() async throws {
        let fixture = try await Fixture()
        _ = try await define(
            fixture, definition([version("v5", Self.described), version("v6alpha1", Self.described, storage: false)]))
        let tag = try await fixture.send("GET", "/openapi/v2").header("ETag")
        #expect(try await published(fixture, "com.example.v6alpha1.Foo") != nil)
        _ = try await change(fixture, "foos.example.com") {
            $0["spec"]["versions"] = .array([
                version("v5", Self.described), version("v6alpha1", Self.described, served: false, storage: false),
            ])
        }
        #expect(try await published(fixture, "com.example.v6alpha1.Foo") == nil)
        #expect(try await published(fixture, "com.example.v5.Foo") != nil)
        let later = try await fixture.send("GET", "/openapi/v2")
        #expect(later.header("ETag") != tag)
    }

    @Test("CustomResourceDefinition resources: creating, listing, getting, patching and deleting them and their status")
    func basics() async throws {
        let fixture = try await Fixture()
        for kind in ["Foo", "Bar"] {
            var made = definition(kind: kind, [version("v1", Self.described)])
            made["metadata"]["labels"] = ["set": "test"]
            _ = try await define(fixture, made)
        }
        let listed = try await fixture.send("GET", Self.definitions + "?labelSelector=set=test").json
        #expect(listed["items"].array?.count == 2)
        let path = "\(Self.definitions)/foos.example.com"
        let status = try await fixture.send("GET", path + "/status").json
        #expect(
            status["status"]["conditions"].array?.contains { $0["type"] == "Established" && $0["status"] == "True" }
                == true)
        let condition: JSON = [
            "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "by a test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        ]
        var updated = status
        updated["status"]["conditions"] = .array((status["status"]["conditions"].array ?? []) + [condition])
        let put = try await fixture.send("PUT", path + "/status", updated)
        #expect(put.status == 200, "\(put.json)")
        #expect(put.json["status"]["conditions"].array?.contains { $0["type"] == "StatusUpdate" } == true)
        let patched = try await fixture.send(
            "PATCH", path + "/status", ["metadata": ["annotations": ["a": "b"]]], type: "application/merge-patch+json")
        #expect(patched.status == 200)
        #expect(try await fixture.send("DELETE", Self.definitions + "?labelSelector=set=test").status == 200)
    }

    @Test("CustomResourceDefinition Watch: watches on custom resource definition objects")
    func watch() async throws {
        let fixture = try await Fixture()
        _ = try await define(fixture, definition(scope: "Cluster", [version("v1", Self.described)]))
        let path = "/apis/example.com/v1/foos"
        let watch = try await fixture.watch(path)
        for name in ["a", "b"] {
            let body: JSON = ["apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": JSON(name)]]
            #expect(try await fixture.send("POST", path, body).status == 201)
        }
        for name in ["a", "b"] {
            let answer = try await fixture.send(
                "PATCH", "\(path)/\(name)", ["spec": ["bars": [["name": "x"]]]], type: "application/merge-patch+json")
            #expect(answer.status == 200 && answer.json["metadata"]["generation"] == 2)
        }
        for name in ["a", "b"] { #expect(try await fixture.send("DELETE", "\(path)/\(name)").status == 200) }
        for expected in ["ADDED a", "ADDED b", "MODIFIED a", "MODIFIED b", "DELETED a", "DELETED b"] {
            #expect(try await watch.summary() == expected)
        }
    }

    @Test("CustomResourceFieldSelectors: list, watch and delete by the fields that a definition names")
    func selectableFields() async throws {
        let fixture = try await Fixture()
        var served = version(
            "v1",
            [
                "type": "object",
                "properties": [
                    "color": ["type": "string"], "quantity": ["type": "integer"], "ready": ["type": "boolean"],
                ],
            ])
        served["selectableFields"] = [["jsonPath": ".color"], ["jsonPath": ".quantity"], ["jsonPath": ".ready"]]
        _ = try await define(fixture, definition([served]))
        let path = "/apis/example.com/v1/namespaces/default/foos"
        func make(_ name: String, _ color: String, _ quantity: Int) async throws {
            let made = try await fixture.send(
                "POST", path,
                [
                    "apiVersion": "example.com/v1", "kind": "Foo", "metadata": ["name": JSON(name)],
                    "color": JSON(color), "quantity": JSON(quantity), "ready": true,
                ])
            #expect(made.status == 201, "\(made.json)")
        }
        let watch = try await fixture.watch("\(path)?fieldSelector=color=blue")
        try await make("a", "blue", 2)
        try await make("b", "blue", 3)
        try await make("c", "green", 2)
        func names(_ selector: String) async throws -> [String?] {
            let list = try await fixture.send("GET", "\(path)?fieldSelector=\(selector)").json
            return (list["items"].array ?? []).map { $0["metadata"]["name"].string }
        }
        #expect(try await names("color=blue") == ["a", "b"])
        #expect(try await names("quantity=2") == ["a", "c"])
        #expect(try await names("color=blue,quantity!=2,ready=true") == ["b"])
        #expect(try await names("color=red") == [])
        let refused = try await fixture.send("GET", "\(path)?fieldSelector=size=2")
        #expect(
            refused.status == 400 && refused.json["message"].string?.contains("field label not supported: size") == true
        )
        _ = try await fixture.send("PATCH", path + "/a", ["color": "green"], type: "application/merge-patch+json")
        #expect(try await fixture.send("DELETE", path + "?fieldSelector=color=green").status == 200)
        for expected in ["ADDED a", "ADDED b", "DELETED a"] { #expect(try await watch.summary() == expected) }
        #expect(try await names("metadata.namespace=default") == ["b"])
    }

    @Test(
        "FieldValidation: of typed objects and of custom ones, with and without schema, with metadata and embedded objects"
    )
    func fieldValidation() async throws {
        let fixture = try await Fixture()
        _ = try await define(fixture, definition([version("v1", Self.described)]))
        _ = try await define(
            fixture,
            definition(kind: "Any", [version("v1", ["type": "object", "x-kubernetes-preserve-unknown-fields": true])]))
        let deployment =
            #"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","unknownMeta":"x"},"spec":{"unknownField":"x","#
            + #""replicas":1,"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"#
            + #""spec":{"containers":[{"name":"c","image":"i","image":"j","unknownNested":1}]}}}}"#
        let foo =
            #"{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"f","unknownMeta":"x","name":"f"},"#
            + #""spec":{"unknown":1,"bars":[{"name":"a","name":"b","unknown":1}]}}"#
        let any = #"{"apiVersion":"example.com/v1","kind":"Any","metadata":{"name":"a","unknownMeta":1},"x":1,"x":2}"#
        for (path, body, fields) in [
            (
                "/apis/apps/v1/namespaces/default/deployments", deployment,
                [
                    #"unknown field "metadata.unknownMeta""#, #"unknown field "spec.unknownField""#,
                    #"unknown field "spec.template.spec.containers[0].unknownNested""#,
                    #"duplicate field "spec.replicas""#,
                    #"duplicate field "spec.template.spec.containers[0].image""#,
                ]
            ),
            (
                "/apis/example.com/v1/namespaces/default/foos", foo,
                [
                    #"unknown field "metadata.unknownMeta""#, #"unknown field "spec.unknown""#,
                    #"unknown field "spec.bars[0].unknown""#, #"duplicate field "metadata.name""#,
                    #"duplicate field "spec.bars[0].name""#,
                ]
            ),
            (
                "/apis/example.com/v1/namespaces/default/anys", any,
                [#"unknown field "metadata.unknownMeta""#, #"duplicate field "x""#]
            ),
        ] {
            func send(_ validation: String) async throws -> Fixture.Answer {
                try await fixture.send(
                    "POST", path + "?dryRun=All&fieldValidation=\(validation)", bytes: Array(body.utf8),
                    type: "application/json")
            }
            let strict = try await send("Strict")
            #expect(strict.status == 400 && strict.json["message"].string?.contains("strict decoding error: ") == true)
            for field in fields { #expect(strict.json["message"].string?.contains(field) == true, "\(strict.json)") }
            let warned = try await send("Warn")
            #expect(warned.status == 201, "\(warned.json)")
            let warnings = warned.headers.filter { $0.0 == "Warning" }.map(\.1)
            #expect(warnings.count == fields.count, "\(warnings)")
            let silent = try await send("Ignore")
            #expect(silent.status == 201 && silent.header("Warning") == nil)
            // In a patch and in an applied configuration as well.
            _ = try await fixture.send("POST", path, bytes: Array(body.utf8), type: "application/json")
            let name = try JSON(parsing: body)["metadata"]["name"].string ?? ""
            for (type, patch) in [
                ("merge-patch+json", #"{"metadata":{"unknownMeta":"x"},"spec":{}}"#),
                ("json-patch+json", #"[{"op":"add","path":"/metadata/unknownMeta","value":"x"}]"#),
            ] {
                let answer = try await fixture.send(
                    "PATCH", "\(path)/\(name)?fieldValidation=Strict", bytes: Array(patch.utf8),
                    type: "application/\(type)")
                #expect(answer.status == 400 || answer.status == 422, "\(type): \(answer.json)")
                #expect(answer.json["message"].string?.contains(#"unknown field "metadata.unknownMeta""#) == true)
            }
        }
    }
}
