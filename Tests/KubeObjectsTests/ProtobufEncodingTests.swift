// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// Objects as Kubernetes' protobuf has them, byte for byte. In the texts of bytes, what follows `//` explains a line.
@Suite struct ProtobufEncodingTests {
    private func bytes(_ annotated: String) throws -> [UInt8] {
        let digits = annotated.split(separator: "\n").map { $0.split(separator: "//", maxSplits: 1)[0] }.joined()
        return try #require(Hex.bytes(digits.filter { !$0.isWhitespace }))
    }

    private func expect(
        _ group: String, _ version: String, _ kind: String, _ json: JSON, _ annotated: String,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let encoding = try #require(ProtobufEncoding(GroupVersionKind(group, version, kind)))
        let (made, wanted) = (encoding.raw(json), try bytes(annotated))
        #expect(made == wanted, "\(Hex.text(made)) is not \(Hex.text(wanted))", sourceLocation: location)
    }

    @Test func envelope() throws {
        let object: JSON = [
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": ["name": "m", "labels": ["b": "2", "a": "1"], "creationTimestamp": nil],
            "data": ["k": "", "a": "v"], "binaryData": ["x": "AQID"],
        ]
        let expected = try bytes(
            """
            6b 38 73 00                      // magic
            0a 0f                            // Unknown.typeMeta
            0a 02 76 31                      //   apiVersion: v1
            12 09 43 6f 6e 66 69 67 4d 61 70 //   kind: ConfigMap
            12 2e                            // Unknown.raw
            0a 13                            //   metadata
            0a 01 6d                         //     name; nothing for the time that is null
            5a 06 0a 01 61 12 01 31          //     labels by their keys: a
            5a 06 0a 01 62 12 01 32          //     b
            12 06 0a 01 61 12 01 76          //   data: a
            12 05 0a 01 6b 12 00             //   k, whose value is empty
            1a 08 0a 01 78 12 03 01 02 03    //   binaryData, without Base64
            1a 00 22 00                      // contentEncoding and contentType, which are empty
            """)
        let made = try #require(Protobuf.encode(object))
        #expect(made == expected, "\(Hex.text(made)) is not \(Hex.text(expected))")
    }

    @Test func times() throws {
        // 0 is a time; an empty message would be none. Time has whole seconds.
        try expect(
            "", "v1", "Pod", ["metadata": ["creationTimestamp": "1970-01-01T00:00:00Z"]],
            """
            0a 06          // metadata
            42 04          //   creationTimestamp
            08 00 10 00    //     seconds, nanos
            """)
        try expect(
            "", "v1", "Pod", ["metadata": ["deletionTimestamp": "2026-01-01T00:00:00.5Z"]],
            "0a 0a 4a 08 08 80 f2 d6 ca 06 10 00")
        // MicroTime has microseconds.
        try expect(
            "coordination.k8s.io", "v1", "Lease", ["spec": ["renewTime": "1970-01-01T00:00:01.000002Z"]],
            """
            12 07          // spec
            22 05          //   renewTime
            08 01 10 d0 0f //     1 s and 2000 ns
            """)
    }

    @Test func quantitiesPortsAndNegativeNumbers() throws {
        let limits: JSON = ["memory": "1Gi", "cpu": 2]
        try expect(
            "", "v1", "Pod", ["spec": ["containers": [["resources": ["limits": limits]]], "priority": -1]],
            """
            12 2d                                  // spec
            12 1f                                  //   containers
            42 1d                                  //     resources
            0a 0a 0a 03 63 70 75 12 03 0a 01 32    //       limits: cpu, a Quantity's text
            0a 0f 0a 06 6d 65 6d 6f 72 79          //       memory
            12 05 0a 03 31 47 69                   //       its Quantity
            c8 01 ff ff ff ff ff ff ff ff ff 01    //   priority = 25
            """)
        try expect(
            "", "v1", "Service", ["spec": ["ports": [["port": 80, "targetPort": "web"], ["targetPort": 8080]]]],
            """
            12 1a                        // spec
            0a 0d                        //   ports
            18 50                        //     port
            22 09                        //     targetPort
            08 01 10 00 1a 03 77 65 62   //       text: type 1, no number, "web"
            0a 09                        //   the other
            22 07                        //     targetPort
            08 00 10 90 3f 1a 00         //       number
            """)
    }

    /// What JSON writes in the outer object stands in a message of its own.
    @Test func inlinedMessages() throws {
        try expect(
            "", "v1", "Pod", ["spec": ["volumes": [["configMap": ["name": "m", "defaultMode": 420], "name": "v"]]]],
            """
            12 12           // spec
            0a 10           //   volumes
            0a 01 76        //     name
            12 0b           //     volumeSource
            9a 01 08        //       configMap = 19
            0a 03 0a 01 6d  //         localObjectReference
            18 a4 03        //         defaultMode
            """)
        try expect(
            "", "v1", "Pod",
            ["spec": ["containers": [["livenessProbe": ["periodSeconds": 5, "exec": ["command": ["true"]]]]]]],
            """
            12 10                   // spec
            12 0e                   //   containers
            52 0c                   //     livenessProbe
            0a 08                   //       handler
            0a 06 0a 04 74 72 75 65 //         exec
            20 05                   //       periodSeconds
            """)
        try expect(
            "networking.k8s.io", "v1", "Ingress", ["spec": ["rules": [["host": "h", "http": ["paths": []]]]]],
            """
            12 09     // spec
            1a 07     //   rules
            0a 01 68  //     host
            12 02     //     ingressRuleValue
            0a 00     //       http
            """)
    }

    @Test func rawJSON() throws {
        try expect(
            "apps", "v1", "ControllerRevision", ["data": ["a": 1], "revision": 2],
            """
            12 09                      // data
            0a 07 7b 22 61 22 3a 31 7d //   {"a":1}
            18 02                      // revision
            """)
        try expect(
            "", "v1", "Pod",
            ["metadata": ["managedFields": [["manager": "m", "fieldsType": "FieldsV1", "fieldsV1": ["f:a": [:]]]]]],
            """
            0a 1e                                  // metadata
            8a 01 1b                               //   managedFields = 17
            0a 01 6d                               //     manager
            32 08 46 69 65 6c 64 73 56 31          //     fieldsType
            3a 0c                                  //     fieldsV1
            0a 0a 7b 22 66 3a 61 22 3a 7b 7d 7d    //       {"f:a":{}}
            """)
    }

    /// JSON Schema's own words, and what stands for a schema.
    @Test func schemas() throws {
        func expect(_ schema: JSON, _ annotated: String, _ location: SourceLocation = #_sourceLocation) throws {
            let encoding = try #require(
                ProtobufEncoding(GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")))
            let made = encoding.raw(["spec": ["versions": [["schema": ["openAPIV3Schema": schema]]]]])
            var wanted = try bytes(annotated)
            // openAPIV3Schema = 1, schema = 4, versions = 7, spec = 2.
            for key: UInt8 in [0x0A, 0x22, 0x3A, 0x12] { wanted = [key, UInt8(wanted.count)] + wanted }
            #expect(made == wanted, "\(Hex.text(made)) is not \(Hex.text(wanted))", sourceLocation: location)
        }
        try expect(
            ["x-kubernetes-list-type": "set", "$ref": "r", "$schema": "s", "x-kubernetes-int-or-string": false],
            """
            12 01 73                // $schema
            1a 01 72                // $ref
            c0 02 00                // x-kubernetes-int-or-string = 40
            d2 02 03 73 65 74       // x-kubernetes-list-type = 42
            """)
        try expect(["maximum": 1.5], "49 00 00 00 00 00 00 f8 3f")
        try expect(
            ["default": "x", "enum": [1, nil]],
            """
            42 05 0a 03 22 78 22   // default, as JSON writes it
            a2 01 03 0a 01 31      // enum = 20: 1
            a2 01 00               // null
            """)
        try expect(["additionalProperties": false], "f2 01 02 08 00")
        try expect(["additionalProperties": ["type": "a"]], "f2 01 07 08 01 12 03 2a 01 61")
        try expect(["items": ["type": "a"]], "c2 01 05 0a 03 2a 01 61")
        try expect(["items": [["type": "a"]]], "c2 01 05 12 03 2a 01 61")
        try expect(["dependencies": ["k": ["a"]]], "82 02 08 0a 01 6b 12 03 12 01 61")
    }

    @Test func listsOfTextInMessagesOfTheirOwn() throws {
        try expect(
            "authentication.k8s.io", "v1", "SelfSubjectReview",
            ["status": ["userInfo": ["username": "u", "groups": ["g"], "extra": ["k": ["a", "b"]]]]],
            """
            12 15                // status
            0a 13                //   userInfo
            0a 01 75             //     username
            1a 01 67             //     groups
            22 0b 0a 01 6b 12 06 //     extra: k
            0a 01 61 0a 01 62    //       items
            """)
    }

    /// The zero of a pointer in Go says something; nothing else is written that the object does not have.
    @Test func zeros() throws {
        try expect("apps", "v1", "Deployment", ["spec": ["replicas": 0]], "12 02 08 00")
        try expect(
            "", "v1", "Pod", ["spec": ["automountServiceAccountToken": false, "securityContext": [:]]],
            "12 05 72 00 a8 01 00")
        try expect("", "v1", "Pod", ["metadata": [:]], "0a 00")
        try expect("", "v1", "Pod", [:], "")
        try expect("", "v1", "PersistentVolumeClaim", ["spec": ["storageClassName": ""]], "12 02 2a 00")
    }

    /// Members without a field, and values of another type, have no place in a message.
    @Test func whatCannotBeSaid() throws {
        try expect(
            "apps", "v1", "Deployment",
            [
                "spec": [
                    "replicas": "many", "paused": 1, "template": 7, "unheardOf": 1, "selector": ["matchLabels": [1]],
                ]
            ],
            "12 04 12 00 1a 00")
        #expect(ProtobufEncoding(GroupVersionKind("crd.projectcalico.org", "v1", "IPPool")) == nil)
        #expect(ProtobufEncoding(GroupVersionKind("meta.k8s.io", "v1", "Table")) == nil)
    }

    @Test func longMessages() throws {
        // Lengths of one, two and three bytes, within each other.
        for size in [0, 100, 127, 128, 16_383, 16_384, 70_000] {
            let object: JSON = [
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"],
                "data": ["k": JSON(String(repeating: "x", count: size))],
            ]
            #expect(try Protobuf.decode(try #require(Protobuf.encode(object))).json == object)
        }
    }

    @Test func lists() throws {
        let items: [[UInt8]] = [[0x0A, 0x00], []]
        let (head, tail) = Protobuf.list(
            GroupVersionKind("", "v1", "PodList"), metadata: ["resourceVersion": "7", "remainingItemCount": 3],
            itemSizes: items.map(\.count))
        let whole = items.reduce(into: head) { Protobuf.appendItem($1, to: &$0) } + tail
        #expect(
            try whole
                == bytes(
                    """
                    6b 38 73 00           // magic
                    0a 0d 0a 02 76 31 12 07 50 6f 64 4c 69 73 74 // typeMeta
                    12 0d                 // raw
                    0a 05 12 01 37 20 03  //   metadata
                    12 02 0a 00           //   items
                    12 00
                    1a 00 22 00           // contentEncoding, contentType
                    """))
    }

    /// The length in front counts the lengths of all items, whatever they take.
    @Test func listsOfLongItems() throws {
        for size in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let (head, _) = Protobuf.list(
                GroupVersionKind("", "v1", "PodList"), metadata: [:], itemSizes: [size, size])
            var items: [UInt8] = []
            for _ in 0..<2 { Protobuf.appendItem([UInt8](repeating: 0, count: size), to: &items) }
            let (empty, _) = Protobuf.list(GroupVersionKind("", "v1", "PodList"), metadata: [:], itemSizes: [])
            // Behind the magic and the type stands the length, then an empty metadata.
            var length = 0
            for (index, byte) in head[(empty.count - 3)...].dropLast(2).enumerated() {
                length |= Int(byte & 0x7F) << (7 * index)
            }
            #expect(length == items.count + 2)
        }
    }

    @Test func framesOfWatches() throws {
        #expect(
            try Protobuf.watchFrame("ADDED", [1, 2])
                == bytes(
                    """
                    00 00 00 0d          // length
                    0a 05 41 44 44 45 44 // type
                    12 04                // object, a RawExtension
                    0a 02 01 02          //   raw
                    """))
    }
}
