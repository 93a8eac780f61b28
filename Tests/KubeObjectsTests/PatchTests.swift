// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct PatchTests {
    func json(_ text: String) throws -> JSON { try JSON(parsing: text) }

    /// RFC 7386, appendix A.
    @Test(arguments: [
        (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
        (#"{"a":"b"}"#, #"{"a":null}"#, "{}"), (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
        (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
        (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
        (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#), (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
        (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#), (#"{"a":"foo"}"#, "null", "null"),
        (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#),
        (#"[1,2]"#, #"{"a":"b","c":null}"#, #"{"a":"b"}"#), ("{}", #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
    ])
    func merge(_ target: String, _ patch: String, _ result: String) throws {
        #expect(try MergePatch.apply(json(patch), to: json(target)) == json(result))
    }

    @Test(arguments: [
        (#"{"a":1}"#, #"[{"op":"add","path":"/b","value":2}]"#, #"{"a":1,"b":2}"#),
        (#"{"a":[1,2]}"#, #"[{"op":"add","path":"/a/1","value":9}]"#, #"{"a":[1,9,2]}"#),
        (#"{"a":[1,2]}"#, #"[{"op":"add","path":"/a/-","value":3}]"#, #"{"a":[1,2,3]}"#),
        (#"{"a":1,"b":2}"#, #"[{"op":"remove","path":"/a"}]"#, #"{"b":2}"#),
        (#"{"a":[1,2,3]}"#, #"[{"op":"remove","path":"/a/1"}]"#, #"{"a":[1,3]}"#),
        (#"{"a":1}"#, #"[{"op":"replace","path":"/a","value":2}]"#, #"{"a":2}"#),
        (#"{"a":{"x":1},"b":{}}"#, #"[{"op":"move","from":"/a/x","path":"/b/y"}]"#, #"{"a":{},"b":{"y":1}}"#),
        (#"{"a":1}"#, #"[{"op":"copy","from":"/a","path":"/b"}]"#, #"{"a":1,"b":1}"#),
        (#"{"a":1}"#, #"[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2}]"#, #"{"a":2}"#),
        (
            #"{"a/b":1,"m~n":2}"#, #"[{"op":"remove","path":"/a~1b"},{"op":"replace","path":"/m~0n","value":3}]"#,
            #"{"m~n":3}"#
        ),
        (#"{"a":1}"#, #"[{"op":"replace","path":"","value":{"b":1}}]"#, #"{"b":1}"#),
        // Go leaves out what is null.
        (#"{"a":1}"#, #"[{"op":"add","path":"/b"},{"op":"replace","path":"/a"}]"#, #"{"a":null,"b":null}"#),
        (#"{"a":1}"#, #"[{"op":"test","path":"/b"}]"#, #"{"a":1}"#),
    ])
    func jsonPatch(_ target: String, _ patch: String, _ result: String) throws {
        #expect(try JSONPatch.apply(json(patch), to: json(target)) == json(result))
    }

    static let refusals: [(String, PatchError.Kind)] = [
        (#"[{"op":"remove","path":"/x"}]"#, .doesNotApply),
        (#"[{"op":"replace","path":"/x","value":1}]"#, .doesNotApply),
        (#"[{"op":"add","path":"/x/y","value":1}]"#, .doesNotApply),
        (#"[{"op":"add","path":"/a/7","value":1}]"#, .doesNotApply),
        (#"[{"op":"add","path":"/a/01","value":1}]"#, .doesNotApply),
        (#"[{"op":"test","path":"/a","value":2}]"#, .doesNotApply),
        (#"[{"op":"move","from":"/a","path":"/a/0"}]"#, .doesNotApply),
        (#"[{"op":"test","path":"/a"}]"#, .doesNotApply), (#"[{"op":"fly","path":"/x"}]"#, .malformed),
        (#"[{"path":"/x"}]"#, .malformed), (#"{"op":"add"}"#, .malformed),
        (#"[{"op":"add","path":"x","value":1}]"#, .malformed),
    ]

    @Test(arguments: refusals)
    func refused(_ patch: String, _ kind: PatchError.Kind) throws {
        let patch = try json(patch)
        let error = #expect(throws: PatchError.self) { try JSONPatch.apply(patch, to: ["a": [1, 2]]) }
        #expect(error?.kind == kind)
    }

    func strategic(_ target: String, _ patch: String, _ resource: GroupVersionResource = .pods) throws -> JSON {
        let type = try #require(ResourceRegistry.shared.resource(resource))
        return try StrategicMergePatch.apply(json(patch), to: json(target), type: type)
    }

    @Test(arguments: [
        // Containers merge by name.
        (
            #"{"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]}}"#,
            #"{"spec":{"containers":[{"name":"b","image":"z"},{"name":"c","image":"w"}]}}"#,
            #"{"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"z"},{"name":"c","image":"w"}]}}"#
        ),
        (
            #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            #"{"spec":{"containers":[{"$patch":"delete","name":"a"}]}}"#, #"{"spec":{"containers":[{"name":"b"}]}}"#
        ),
        (
            #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            #"{"spec":{"containers":[{"$patch":"replace"},{"name":"c"}]}}"#, #"{"spec":{"containers":[{"name":"c"}]}}"#
        ),
        // Ports merge by number, tolerations are replaced as a whole.
        (
            #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"x"}]}]}}"#,
            #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"y"},{"containerPort":81}]}]}}"#,
            #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"y"},{"containerPort":81}]}]}}"#
        ),
        (
            #"{"spec":{"tolerations":[{"key":"a"}]}}"#, #"{"spec":{"tolerations":[{"key":"b"}]}}"#,
            #"{"spec":{"tolerations":[{"key":"b"}]}}"#
        ),
        (
            #"{"metadata":{"labels":{"a":"1","b":"2"}}}"#, #"{"metadata":{"labels":{"a":null,"c":"3"}}}"#,
            #"{"metadata":{"labels":{"b":"2","c":"3"}}}"#
        ),
        (
            #"{"metadata":{"labels":{"a":"1"}}}"#, #"{"metadata":{"labels":{"$patch":"replace","c":"3"}}}"#,
            #"{"metadata":{"labels":{"c":"3"}}}"#
        ),
        // Lists of plain values merge as sets.
        (
            #"{"metadata":{"finalizers":["a","b"]}}"#, #"{"metadata":{"finalizers":["b","c"]}}"#,
            #"{"metadata":{"finalizers":["a","b","c"]}}"#
        ),
        (
            #"{"metadata":{"finalizers":["a","b"]}}"#, #"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}"#,
            #"{"metadata":{"finalizers":["b"]}}"#
        ),
        // The order of the patch wins among what it lists.
        (
            #"{"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"s"}]}}"#,
            #"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}}"#,
            #"{"spec":{"containers":[{"name":"b"},{"name":"a"},{"name":"s"}]}}"#
        ),
        // One port of two protocols is two elements, whatever the order says of their number.
        (
            #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":53,"name":"u"},{"containerPort":53,"name":"t"}]}]}}"#,
            #"{"spec":{"containers":[{"name":"a","$setElementOrder/ports":[{"containerPort":53},{"containerPort":53},{"containerPort":80}],"ports":[{"containerPort":80}]}]}}"#,
            #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":53,"name":"u"},{"containerPort":53,"name":"t"},{"containerPort":80}]}]}}"#
        ),
        // A volume's source is replaced, not joined with another.
        (
            #"{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}"#,
            #"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"},"$retainKeys":["name","hostPath"]}]}}"#,
            #"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}"#
        ),
        // A deletion of what is not there leaves no directive behind.
        (#"{"spec":{}}"#, #"{"spec":{"containers":[{"$patch":"delete","name":"a"}]}}"#, #"{"spec":{"containers":[]}}"#),
        (#"{"spec":{"affinity":{"nodeAffinity":{}}}}"#, #"{"spec":{"affinity":{"$patch":"delete"}}}"#, #"{"spec":{}}"#),
        (#"{}"#, #"{"spec":{"nodeName":null,"hostname":"x"}}"#, #"{"spec":{"hostname":"x"}}"#),
    ])
    func strategicMerge(_ target: String, _ patch: String, _ result: String) throws {
        #expect(try strategic(target, patch) == json(result))
    }

    @Test func strategicMergeOfOtherKinds() throws {
        let service = #"{"spec":{"ports":[{"port":80,"name":"a"}]}}"#
        #expect(
            try strategic(service, #"{"spec":{"ports":[{"port":81}]}}"#, .services)
                == json(#"{"spec":{"ports":[{"port":80,"name":"a"},{"port":81}]}}"#))
        let node =
            #"{"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"False"}]}}"#
        #expect(
            try strategic(node, #"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#, .nodes)["status"][
                "conditions"][0]["status"]
                == "False")
        #expect(throws: PatchError.self) { try strategic("{}", #"{"spec":{"containers":[{"image":"x"}]}}"#) }
        #expect(throws: PatchError.self) { try strategic("{}", #"{"spec":{"$patch":"explode"}}"#) }
    }

    @Test func anEmptyPatchChangesNothing() throws {
        let pod =
            #"{"spec":{"containers":[{"name":"a","env":[{"name":"x","value":"1"}]}],"volumes":[]},"metadata":{"name":"a"}}"#
        #expect(try strategic(pod, "{}") == json(pod))
        #expect(try strategic(pod, pod) == json(pod))
        #expect(try MergePatch.apply(json(pod), to: json(pod)) == json(pod))
        #expect(try JSONPatch.apply([], to: json(pod)) == json(pod))
    }
}
