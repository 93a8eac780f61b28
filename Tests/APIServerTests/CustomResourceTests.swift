// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// Custom resources, from the definition to its removal.
@Suite struct CustomResourceTests {
    static let crontabs = "/apis/stable.example.com/v1/namespaces/default/crontabs"
    static let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    static func schema(_ spec: JSON) -> JSON {
        [
            "openAPIV3Schema": [
                "type": "object",
                "properties": [
                    "spec": spec,
                    "status": [
                        "type": "object",
                        "properties": ["replicas": ["type": "integer"], "selector": ["type": "string"]],
                    ],
                ],
            ]
        ]
    }

    static let spec: JSON = [
        "type": "object", "required": ["cronSpec"],
        "properties": [
            "cronSpec": ["type": "string", "pattern": "^(\\d+|\\*)(\\s+(\\d+|\\*)){4}$"],
            "image": ["type": "string", "default": "busybox"],
            "replicas": ["type": "integer", "minimum": 1, "maximum": 10],
            "color": ["type": "string", "enum": ["red", "blue"]],
            "port": ["x-kubernetes-int-or-string": true],
            "extra": ["type": "object", "x-kubernetes-preserve-unknown-fields": true],
        ],
    ]

    static func definition(
        kind: String = "CronTab", plural: String = "crontabs", short: [String] = ["ct"], versions: [JSON]? = nil
    ) -> JSON {
        let version: JSON = [
            "name": "v1", "served": true, "storage": true, "schema": schema(spec),
            "subresources": [
                "status": [:],
                "scale": [
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector",
                ],
            ],
            "additionalPrinterColumns": [
                ["name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"],
                ["name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1],
                ["name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"],
            ],
            "selectableFields": [["jsonPath": ".spec.color"]],
        ]
        return [
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": ["name": JSON("\(plural).stable.example.com")],
            "spec": [
                "group": "stable.example.com", "scope": "Namespaced",
                "names": [
                    "plural": JSON(plural), "singular": JSON(kind.lowercased()), "kind": JSON(kind),
                    "shortNames": JSON(short),
                ],
                "versions": .array(versions ?? [version]),
            ],
        ]
    }

    static func crontab(_ name: String, _ spec: JSON) -> JSON {
        [
            "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": ["name": JSON(name)],
            "spec": spec,
        ]
    }

    private static func served() async throws -> Fixture {
        let fixture = try await Fixture()
        let answer = try await fixture.send("POST", definitions, definition())
        try #require(answer.status == 201, "\(answer.json)")
        return fixture
    }

    // MARK: Definitions

    @Test func aDefinitionIsServedAtOnceWithItsNames() async throws {
        let fixture = try await Self.served()
        let made = try await fixture.send("GET", "\(Self.definitions)/crontabs.stable.example.com").json
        let conditions = made["status"]["conditions"].array ?? []
        #expect(
            conditions.map { "\($0["type"].string ?? "")=\($0["status"].string ?? "")" } == [
                "NamesAccepted=True", "Established=True",
            ])
        #expect(made["status"]["storedVersions"] == ["v1"])
        #expect(made["status"]["acceptedNames"]["listKind"].string == "CronTabList")
        #expect(made["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"])

        let list = try await fixture.send("GET", "/apis/stable.example.com/v1").json
        let names = (list["resources"].array ?? []).compactMap { $0["name"].string }
        #expect(names == ["crontabs", "crontabs/status", "crontabs/scale"])
        let groups = try await fixture.send("GET", "/apis").json
        #expect((groups["groups"].array ?? []).contains { $0["name"].string == "stable.example.com" })
        let aggregated = try await fixture.send(
            "GET", "/apis", type: nil,
            accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        ).json
        let group = (aggregated["items"].array ?? []).first { $0["metadata"]["name"].string == "stable.example.com" }
        #expect(group["versions"][0]["resources"][0]["shortNames"] == ["ct"])
    }

    @Test func openAPIHasWhatIsDefinedAndLosesIt() async throws {
        let fixture = try await Self.served()
        let index = try await fixture.send("GET", "/openapi/v3").json
        let url = try #require(index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].string)
        let document = try await fixture.send("GET", url).json
        let schema = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
        #expect(schema["properties"]["spec"]["properties"]["image"]["default"].string == "busybox")
        #expect(schema["x-kubernetes-group-version-kind"][0]["kind"].string == "CronTab")
        #expect(document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"] != nil)

        let old = try await fixture.send("GET", "/openapi/v2")
        #expect(old.json["definitions"]["com.example.stable.v1.CronTab"] != nil)
        let protobuf = try await fixture.send(
            "GET", "/openapi/v2", type: nil, accept: "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
        #expect(String(decoding: protobuf.bytes, as: UTF8.self).contains("com.example.stable.v1.CronTab"))

        _ = try await fixture.send("DELETE", "\(Self.definitions)/crontabs.stable.example.com")
        var held = try await fixture.send("GET", "\(Self.definitions)/crontabs.stable.example.com").json
        held["metadata"]["finalizers"] = []
        #expect(try await fixture.send("PUT", "\(Self.definitions)/crontabs.stable.example.com", held).status == 200)
        #expect(try await fixture.send("GET", "/apis/stable.example.com/v1").status == 404)
        #expect(
            try await fixture.send("GET", "/openapi/v2").json["definitions"]["com.example.stable.v1.CronTab"] == nil)
        #expect(try await fixture.send("GET", Self.crontabs).status == 404)
    }

    @Test func namesThatAreTakenWaitUntilTheyAreFree() async throws {
        let fixture = try await Self.served()
        let second = try await fixture.send(
            "POST", Self.definitions, Self.definition(kind: "ClipTape", plural: "cliptapes"))
        #expect(second.status == 201)
        let conditions = second.json["status"]["conditions"].array ?? []
        #expect(conditions.first["reason"].string == "ShortNamesConflict")
        #expect(conditions.first["message"].string == "\"ct\" is already in use")
        #expect(conditions.last["status"].string == "False")
        #expect(try await fixture.send("GET", "/apis/stable.example.com/v1/cliptapes").status == 404)

        let watch = try await fixture.watch(
            "\(Self.definitions)?resourceVersion=\(second.json["metadata"]["resourceVersion"].string ?? "")")
        var held = try await fixture.send("GET", "\(Self.definitions)/crontabs.stable.example.com").json
        held["metadata"]["finalizers"] = []
        _ = try await fixture.send("PUT", "\(Self.definitions)/crontabs.stable.example.com", held)
        _ = try await fixture.send("DELETE", "\(Self.definitions)/crontabs.stable.example.com")
        while try await watch.summary() != "MODIFIED cliptapes.stable.example.com" {}
        #expect(try await fixture.send("GET", "/apis/stable.example.com/v1/cliptapes").status == 200)
    }

    static let refused: [(change: @Sendable (inout JSON) -> Void, message: String)] = [
        (
            { $0["metadata"]["name"] = "x.stable.example.com" },
            "metadata.name: Invalid value: \"x.stable.example.com\": must be spec.names.plural+\".\"+spec.group"
        ),
        (
            {
                $0["spec"]["group"] = "k8s.io"; $0["metadata"]["name"] = "crontabs.k8s.io"
            }, "metadata.annotations[api-approved.kubernetes.io]: Required value"
        ),
        (
            { $0["spec"]["scope"] = "Everywhere" },
            "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\""
        ),
        ({ $0["spec"]["names"]["kind"] = "Cron Tab" }, "spec.names.kind: Invalid value: \"Cron Tab\""),
        (
            { $0["spec"]["names"]["listKind"] = "CronTab" },
            "spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same"
        ),
        ({ $0.version { $0["storage"] = false } }, "must have exactly one version marked as storage version"),
        (
            { $0.version { $0["schema"] = nil } },
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"
        ),
        (
            { $0.version { $0["schema"]["openAPIV3Schema"]["type"] = nil } },
            "spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root"
        ),
        (
            {
                $0.version { $0["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["image"] = [:] }
            }, "properties[spec].properties[image].type: Required value: must not be empty for specified object fields"
        ),
        (
            {
                $0.version {
                    $0["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["image"][
                        "default"] = 7
                }
            }, "properties[image].default: Invalid value"
        ),
        (
            {
                $0.version {
                    $0["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["list"] = [
                        "type": "array"
                    ]
                }
            }, "properties[list].items: Required value: must be specified"
        ),
        (
            {
                $0.version {
                    $0["schema"]["openAPIV3Schema"]["properties"]["spec"]["anyOf"] = [
                        ["type": "object"]
                    ]
                }
            }, "anyOf[0].type: Forbidden: must be empty to be structural"
        ),
        (
            {
                $0.version {
                    $0["schema"]["openAPIV3Schema"]["properties"]["metadata"] = [
                        "type": "object", "properties": ["labels": ["type": "object"]],
                    ]
                }
            }, "must not specify anything other than name and generateName"
        ),
        (
            { $0.version { $0.changeFirst("additionalPrinterColumns") { $0["type"] = "float" } } },
            "additionalPrinterColumns[0].type: Unsupported value: \"float\""
        ),
        (
            { $0.version { $0["subresources"]["scale"]["specReplicasPath"] = ".status.x" } },
            "specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec"
        ),
        ({ $0["spec"]["preserveUnknownFields"] = true }, "spec.preserveUnknownFields: Invalid value: true"),
    ]

    @Test(arguments: refused.indices) func aDefinitionMustBeStructural(_ index: Int) async throws {
        let fixture = try await Fixture()
        var definition = Self.definition()
        Self.refused[index].change(&definition)
        let answer = try await fixture.send("POST", Self.definitions, definition)
        #expect(answer.status == 422, "\(answer.json)")
        #expect(
            answer.json["message"].string?.contains(Self.refused[index].message) ?? false,
            "\(answer.json["message"].string ?? "")")
    }

    // MARK: Objects

    @Test func objectsArePrunedAndFilled() async throws {
        let fixture = try await Self.served()
        let answer = try await fixture.send(
            "POST", Self.crontabs,
            Self.crontab("a", ["cronSpec": "* * * * *", "typo": 1, "extra": ["any": ["thing": 1]], "port": "http"]))
        #expect(answer.status == 201, "\(answer.json)")
        #expect(
            answer.json["spec"] == [
                "cronSpec": "* * * * *", "extra": ["any": ["thing": 1]], "port": "http", "image": "busybox",
            ])
        #expect(answer.json["metadata"]["generation"] == 1)
        #expect(answer.header("Warning") == #"299 - "unknown field \"spec.typo\"""#)
        let strict = try await fixture.send(
            "POST", Self.crontabs + "?fieldValidation=Strict", Self.crontab("b", ["cronSpec": "* * * * *", "typo": 1]))
        #expect(strict.status == 400)
        #expect(strict.json["message"].string?.contains("strict decoding error: unknown field \"spec.typo\"") ?? false)
    }

    static let bad: [(spec: JSON, message: String)] = [
        ([:], "CronTab.stable.example.com \"x\" is invalid: spec.cronSpec: Required value"),
        (["cronSpec": 7], "spec.cronSpec in body must be of type string: \"integer\""),
        (["cronSpec": "x"], "spec.cronSpec in body should match"),
        (["cronSpec": "* * * * *", "replicas": 11], "spec.replicas in body should be less than or equal to 10"),
        (
            ["cronSpec": "* * * * *", "color": "green"],
            "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\""
        ),
        (["cronSpec": "* * * * *", "port": true], "spec.port in body must be of type integer,string: \"boolean\""),
    ]

    @Test(arguments: bad.indices) func objectsFollowTheirSchema(_ index: Int) async throws {
        let fixture = try await Self.served()
        let answer = try await fixture.send("POST", Self.crontabs, Self.crontab("x", Self.bad[index].spec))
        #expect(answer.status == 422, "\(answer.json)")
        #expect(
            answer.json["message"].string?.contains(Self.bad[index].message) ?? false,
            "\(answer.json["message"].string ?? "")")
    }

    @Test func alternativesAreJudged() async throws {
        let fixture = try await Fixture()
        var definition = Self.definition()
        var spec = Self.spec
        spec["oneOf"] = [["required": ["image"]], ["required": ["replicas"]]]
        spec["properties"]["image"]["default"] = nil
        spec["not"] = ["properties": ["color": ["enum": ["blue"]]], "required": ["color"]]
        definition.version { $0["schema"] = Self.schema(spec) }
        let made = try await fixture.send("POST", Self.definitions, definition)
        try #require(made.status == 201, "\(made.json)")
        func answer(_ spec: JSON) async throws -> String {
            try await fixture.send("POST", Self.crontabs + "?dryRun=All", Self.crontab("x", spec)).json["message"]
                .string ?? ""
        }
        #expect(try await answer(["cronSpec": "* * * * *", "image": "a"]) == "")
        #expect(try await answer(["cronSpec": "* * * * *"]).contains("(oneOf). Found none valid"))
        #expect(
            try await answer(["cronSpec": "* * * * *", "image": "a", "replicas": 2]).contains(
                "Found 2 valid alternatives"))
        #expect(try await answer(["cronSpec": "* * * * *", "image": "a", "color": "blue"]).contains("(not)"))
        #expect(try await answer(["cronSpec": "* * * * *", "image": "a", "color": "red"]) == "")
    }

    @Test func statusAndScaleArePartsOfTheirOwn() async throws {
        let fixture = try await Self.served()
        _ = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *", "replicas": 2]))
        let status = try await fixture.send(
            "PATCH", Self.crontabs + "/a/status",
            ["status": ["replicas": 2, "selector": "app=a"], "spec": ["replicas": 9]],
            type: "application/merge-patch+json")
        #expect(status.status == 200, "\(status.json)")
        #expect(status.json["spec"]["replicas"] == 2)
        #expect(status.json["metadata"]["generation"] == 1)
        let scale = try await fixture.send("GET", Self.crontabs + "/a/scale").json
        #expect(scale["status"] == ["replicas": 2, "selector": "app=a"])
        let scaled = try await fixture.send(
            "PATCH", Self.crontabs + "/a/scale", ["spec": ["replicas": 5]], type: "application/merge-patch+json")
        #expect(scaled.json["spec"]["replicas"] == 5, "\(scaled.json)")
        let now = try await fixture.send("GET", Self.crontabs + "/a").json
        #expect(now["spec"]["replicas"] == 5)
        #expect(now["metadata"]["generation"] == 2)
        #expect(now["status"]["replicas"] == 2)
    }

    @Test func columnsAndFieldsAreThoseOfTheDefinition() async throws {
        let fixture = try await Self.served()
        _ = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *", "color": "red"]))
        _ = try await fixture.send(
            "POST", Self.crontabs, Self.crontab("b", ["cronSpec": "* * * * 1", "color": "blue"]))
        let table = try await fixture.send(
            "GET", Self.crontabs, type: nil, accept: "application/json;as=Table;v=v1;g=meta.k8s.io"
        ).json
        #expect(
            (table["columnDefinitions"].array ?? []).compactMap { $0["name"].string } == [
                "Name", "Spec", "Replicas", "Age",
            ])
        #expect(table["rows"][1]["cells"][1].string == "* * * * 1")
        let red = try await fixture.send(
            "GET", Self.crontabs + "?fieldSelector=spec.color%3Dred".replacing("%3D", with: "="))
        #expect((red.json["items"].array ?? []).compactMap { $0["metadata"]["name"].string } == ["a"], "\(red.json)")
        let unknown = try await fixture.send("GET", Self.crontabs + "?fieldSelector=spec.image=x")
        #expect(unknown.status == 400)
    }

    @Test func severalVersionsShowOneObject() async throws {
        let fixture = try await Fixture()
        var old = Self.spec
        old["properties"]["image"]["default"] = "alpine"
        func version(_ name: String, _ spec: JSON, storage: Bool) -> JSON {
            [
                "name": JSON(name), "served": true, "storage": JSON(storage), "schema": Self.schema(spec),
                "deprecated": JSON(!storage),
            ]
        }
        let made = try await fixture.send(
            "POST", Self.definitions,
            Self.definition(versions: [
                version("v1beta1", old, storage: false), version("v1", Self.spec, storage: true),
            ]))
        try #require(made.status == 201, "\(made.json)")
        let group = try await fixture.send("GET", "/apis/stable.example.com").json
        #expect(group["preferredVersion"]["version"].string == "v1")
        let beta = Self.crontabs.replacing("/v1/", with: "/v1beta1/")
        var object = Self.crontab("a", ["cronSpec": "* * * * *"])
        object["apiVersion"] = "stable.example.com/v1beta1"
        let answer = try await fixture.send("POST", beta, object)
        #expect(answer.status == 201, "\(answer.json)")
        #expect(answer.header("Warning") == #"299 - "stable.example.com/v1beta1 CronTab is deprecated""#)
        #expect(answer.json["spec"]["image"].string == "alpine")
        let other = try await fixture.send("GET", Self.crontabs + "/a").json
        #expect(other["apiVersion"].string == "stable.example.com/v1")
        #expect(other["spec"]["image"].string == "alpine")
        let watch = try await fixture.watch(beta)
        #expect(try await watch.next()["object"]["apiVersion"].string == "stable.example.com/v1beta1")
    }

    @Test func aNewSchemaHoldsForWhatIsStored() async throws {
        let fixture = try await Self.served()
        _ = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *", "color": "red"]))
        var definition = try await fixture.send("GET", "\(Self.definitions)/crontabs.stable.example.com").json
        var spec = Self.spec
        spec["properties"]["color"] = nil
        spec["properties"]["zone"] = ["type": "string", "default": "east"]
        definition.version { $0["schema"] = Self.schema(spec) }
        definition.version { $0["selectableFields"] = nil }
        let changed = try await fixture.send("PUT", "\(Self.definitions)/crontabs.stable.example.com", definition)
        try #require(changed.status == 200, "\(changed.json)")
        #expect(changed.json["metadata"]["generation"] == 2)
        let object = try await fixture.send("GET", Self.crontabs + "/a").json
        #expect(object["spec"] == ["cronSpec": "* * * * *", "image": "busybox", "zone": "east"])
        let list = try await fixture.send("GET", Self.crontabs).json
        #expect(list["items"][0]["spec"]["zone"].string == "east")
    }

    @Test func whileADefinitionGoesNothingNewComes() async throws {
        let fixture = try await Self.served()
        _ = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *"]))
        let watch = try await fixture.watch(Self.crontabs)
        #expect(try await watch.summary() == "ADDED a")
        _ = try await fixture.send("DELETE", "\(Self.definitions)/crontabs.stable.example.com")
        let late = try await fixture.send("POST", Self.crontabs, Self.crontab("b", ["cronSpec": "* * * * *"]))
        #expect(late.status == 405)
        #expect(
            late.json["message"].string
                == "create not allowed while custom resource definition crontabs.stable.example.com is terminating")
        var held = try await fixture.send("GET", "\(Self.definitions)/crontabs.stable.example.com").json
        held["metadata"]["finalizers"] = []
        _ = try await fixture.send("PUT", "\(Self.definitions)/crontabs.stable.example.com", held)
        // The watch ends with what it is for.
        #expect(try await watch.next() == nil)
    }

    @Test func patchesOfCustomObjects() async throws {
        let fixture = try await Self.served()
        _ = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *"]))
        let strategic = try await fixture.send(
            "PATCH", Self.crontabs + "/a", ["spec": ["replicas": 2]], type: "application/strategic-merge-patch+json")
        #expect(strategic.status == 415)
        let applied = try await fixture.send(
            "PATCH", Self.crontabs + "/a?fieldManager=me&force=true",
            Self.crontab("a", ["cronSpec": "* * * * *", "replicas": 3]), type: "application/apply-patch+yaml")
        #expect(applied.status == 200, "\(applied.json)")
        #expect(applied.json["metadata"]["managedFields"].array?.contains { $0["manager"].string == "me" } ?? false)
        let labels = try await fixture.send(
            "PATCH", Self.crontabs + "/a", ["metadata": ["labels": ["a": 7]]], type: "application/merge-patch+json")
        #expect(labels.status == 400, "\(labels.json)")
    }

    @Test func protobufIsNotForCustomObjects() async throws {
        let fixture = try await Self.served()
        let answer = try await fixture.send(
            "POST", Self.crontabs, bytes: [0x6B, 0x38, 0x73, 0x00, 0x0A], type: "application/vnd.kubernetes.protobuf")
        #expect(answer.status == 415, "\(answer.json)")
    }

    @Test func rulesThatAreNotEvaluatedAreTold() async throws {
        let fixture = try await Fixture()
        var definition = Self.definition()
        var spec = Self.spec
        spec["x-kubernetes-validations"] = [["rule": "self.replicas > 1", "message": "too few"]]
        definition.version { $0["schema"] = Self.schema(spec) }
        _ = try await fixture.send("POST", Self.definitions, definition)
        let made = try await fixture.send("POST", Self.crontabs, Self.crontab("a", ["cronSpec": "* * * * *"]))
        #expect(made.status == 201)
        #expect(
            made.header("Warning")?.contains(
                "x-kubernetes-validations of crontabs.stable.example.com are not evaluated yet") ?? false)
        let webhooks = try await fixture.send(
            "POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            [
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": ["name": "judge"],
                "webhooks": [
                    [
                        "name": "judge.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                        "clientConfig": ["url": "https://judge.example.com"],
                        "rules": [
                            [
                                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                                "resources": ["configmaps"],
                            ]
                        ],
                    ]
                ],
            ])
        #expect(webhooks.status == 201, "\(webhooks.json)")
        let judged = try await fixture.send(
            "POST", "/api/v1/namespaces/default/configmaps",
            ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a"]])
        #expect(
            judged.header("Warning")?.contains(
                "admission webhook \\\"judge.example.com\\\" of ValidatingWebhookConfiguration judge is not called yet")
                ?? false, "\(judged.header("Warning") ?? "")")
        let other = try await fixture.send(
            "POST", "/api/v1/namespaces/default/secrets",
            ["apiVersion": "v1", "kind": "Secret", "metadata": ["name": "a"]])
        #expect(other.header("Warning") == nil)
    }

    @Test func calicosKindsHaveDefinitions() async throws {
        let fixture = try await Fixture()
        let list = try await fixture.send("GET", Self.definitions).json
        let items = list["items"].array ?? []
        #expect(items.contains { $0["metadata"]["name"].string == "ippools.crd.projectcalico.org" })
        for item in items {
            let conditions = item["status"]["conditions"].array ?? []
            #expect(conditions.allSatisfy { $0["status"].string == "True" }, "\(item["metadata"]["name"] ?? "")")
        }
        let refused = try await fixture.send("DELETE", Self.definitions + "/ippools.crd.projectcalico.org")
        #expect(refused.status == 403)
        #expect(refused.json["message"].string?.contains("is built in and cannot be deleted") ?? false)
    }
}

extension JSON {
    /// Changes the first version of a definition.
    fileprivate mutating func version(_ body: (inout JSON) -> Void) {
        var spec = self["spec"] ?? .null
        spec.changeFirst("versions", body)
        self["spec"] = spec
    }

    fileprivate mutating func changeFirst(_ list: String, _ body: (inout JSON) -> Void) {
        guard var elements = self[list].array, !elements.isEmpty else { return }
        body(&elements[0])
        self[list] = .array(elements)
    }
}
