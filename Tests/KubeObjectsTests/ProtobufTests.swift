// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct ProtobufTests {
    /// A length-delimited field.
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        precondition(bytes.count < 16384)
        let length =
            bytes.count < 128 ? [UInt8(bytes.count)] : [UInt8(bytes.count & 127) | 128, UInt8(bytes.count >> 7)]
        return [number << 3 | 2] + length + bytes
    }

    func field(_ number: UInt8, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }
    func number(_ field: UInt8, _ value: UInt8) -> [UInt8] { [field << 3, value] }

    func envelope(_ apiVersion: String, _ kind: String, _ raw: [UInt8]) -> [UInt8] {
        Protobuf.magic + field(1, field(1, apiVersion) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")
    }

    @Test func configMap() throws {
        let metadata = field(1, "settings") + field(3, "default") + field(8, [])  // creationTimestamp: zero
        let raw =
            field(1, metadata) + field(2, field(1, "key") + field(2, "value"))
            + field(2, field(1, "empty") + field(2, ""))
            + field(3, field(1, "bin") + field(2, [1, 2, 3]))
        let object = try Protobuf.decode(envelope("v1", "ConfigMap", raw))
        #expect(
            object.json == [
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "settings", "namespace": "default"],
                "data": ["key": "value", "empty": ""], "binaryData": ["bin": "AQID"],
            ])
    }

    @Test func deploymentWithItsQuirks() throws {
        // Quantity in a map, IntOrString, an inlined volume source and probe handler.
        let quantity = field(1, field(1, "cpu") + field(2, field(1, "100m")))
        let httpGet = field(1, "/ready") + field(2, number(1, 0) + number(2, 80) + field(3, ""))
        let probe = field(1, field(2, httpGet)) + number(2, 0) + number(4, 5)
        let container =
            field(1, "c") + field(2, "nginx") + field(6, number(2, 0) + number(3, 80)) + field(8, quantity)
            + field(11, probe)
        let volume = field(1, "v") + field(2, field(2, field(1, "")))
        let podSpec = field(1, volume) + field(2, container)
        let spec =
            number(1, 3) + field(2, field(1, field(1, "app") + field(2, "web")))
            + field(3, field(1, []) + field(2, podSpec))
        let object = try Protobuf.decode(envelope("apps/v1", "Deployment", field(1, field(1, "web")) + field(2, spec)))
        let pod = object["spec"]["template"]["spec"]
        #expect(object["spec"]["replicas"] == 3 && object["spec"]["selector"]["matchLabels"]["app"] == "web")
        #expect(pod["volumes"][0] == ["name": "v", "emptyDir": [:]])
        let read = pod["containers"][0]
        #expect(read["ports"][0] == ["containerPort": 80])
        #expect(read["resources"]["limits"]["cpu"] == "100m")
        #expect(read["readinessProbe"] == ["httpGet": ["path": "/ready", "port": 80], "periodSeconds": 5])
    }

    @Test func deleteOptionsOfAnyGroup() throws {
        let object = try Protobuf.decode(envelope("apps/v1", "DeleteOptions", number(1, 0) + field(4, "Background")))
        #expect(object["gracePeriodSeconds"] == 0 && object["propagationPolicy"] == "Background")
    }

    @Test func tokenRequest() throws {
        let raw = field(2, field(1, "aud") + [4 << 3, 0x90, 0x1C])
        let object = try Protobuf.decode(envelope("authentication.k8s.io/v1", "TokenRequest", raw))
        #expect(object["spec"] == ["audiences": ["aud"], "expirationSeconds": 3600])
    }

    @Test func brokenBytesAreRefused() {
        let whole = envelope("v1", "ConfigMap", field(1, field(1, "a")) + field(2, field(1, "k") + field(2, "v")))
        #expect(throws: ProtobufError.self) { try Protobuf.decode([1, 2, 3]) }
        #expect(throws: ProtobufError.self) { try Protobuf.decode(envelope("v1", "Nothing", [])) }
        #expect(throws: ProtobufError.self) { try Protobuf.decode(envelope("v1", "ConfigMap", [0x0A, 0xFF])) }
        #expect(throws: ProtobufError.self) {
            try Protobuf.decode(
                envelope("v1", "ConfigMap", [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]))
        }
        #expect(throws: ProtobufError.self) { try Protobuf.decode(envelope("v1", "ConfigMap", [0x00])) }
        // Whatever is cut off or changed, decoding answers or throws; it never traps.
        for end in whole.indices { _ = try? Protobuf.decode(Array(whole[..<end])) }
        for index in whole.indices {
            for bit in 0..<8 {
                var bytes = whole
                bytes[index] ^= 1 << UInt8(bit)
                _ = try? Protobuf.decode(bytes)
            }
        }
    }

    @Test func nestingIsBounded() {
        var schema = field(5, "object")
        for _ in 0..<200 { schema = field(28, schema) }
        // JSONSchemaProps.not within itself, two hundred deep; number 28 needs a key of two bytes.
        func key(_ bytes: [UInt8]) -> [UInt8] {
            var result: [UInt8] = [0xE2, 0x01]
            var length = bytes.count
            while length >= 128 { result.append(UInt8(length & 127) | 128); length >>= 7 }
            return result + [UInt8(length)] + bytes
        }
        var deep: [UInt8] = []
        for _ in 0..<200 { deep = key(deep) }
        func block(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { field(number, bytes) }
        let version = block(1, "v1".utf8.map { $0 }) + block(4, block(1, deep))
        let raw = block(2, block(7, version))
        #expect(throws: ProtobufError.self) {
            try Protobuf.decode(envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", raw))
        }
    }
}
