// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import KubeObjects
import Linux
import NetworkModel
import Values
import YAMLCoding

extension FuzzTarget {
    /// The parsers that need no network code: what `make fuzz` builds quickly.
    public static let pure: [FuzzTarget] = [
        FuzzTarget("json") { bytes in
            guard let value = try? JSON(parsing: bytes, onDuplicate: { _ in }) else { return }
            // What was read can be written, and then reads and writes as the same. (`1e0` becomes `1`.)
            let written = value.serialized()
            precondition((try? JSON(parsing: written))?.serialized() == written, "JSON changes when it is written")
        },
        FuzzTarget(text: "yaml") { text in
            guard let documents = try? YAML.documents(text) else { return }
            for document in documents { _ = YAML.text(document) }
        },
        FuzzTarget("protobuf") { bytes in
            guard let object = try? Protobuf.decode(Protobuf.magic + bytes) else { return }
            // What was read can be written, and reads as the same.
            guard let written = Protobuf.encode(object.json), let again = try? Protobuf.decode(written) else {
                preconditionFailure("an object that was decoded cannot be encoded")
            }
            precondition(again == object, "an object changes when it is encoded")
        },
        FuzzTarget("cni") { bytes in
            if let list = try? NetworkConfigurationList(parsing: bytes) { _ = list.plugins.count }
            if let single = try? NetworkConfiguration(parsing: bytes) {
                _ = try? single.previousResult()?.json(version: .v1_1_0)
            }
            if let json = try? JSON(parsing: bytes) { _ = try? AgentMessage.parse(request: json) }
            _ = try? CNIArguments(parsing: String(decoding: bytes, as: UTF8.self))
        },
        FuzzTarget(text: "calico-selector") { text in
            guard let selector = try? Selector(text) else { return }
            _ = selector.matches(["zone": "east", "app": "web"])
        },
        FuzzTarget(text: "label-selector") { text in
            guard let selector = try? LabelSelector(text) else { return }
            _ = selector.matches(["zone": "east", "app": "web"])
        },
        FuzzTarget(text: "field-selector") { text in _ = try? FieldSelector(text) },
        FuzzTarget("netlink") { bytes in
            for reply in NetlinkReply.parse(bytes) {
                for size in [0, 12, 16, 20] {
                    let attributes = reply.attributes(after: size)
                    for type in 0..<24 {
                        _ = attributes.number(type, as: UInt32.self)
                        _ = attributes.string(type)
                        _ = attributes.address(type)
                        _ = attributes.mac(type)
                        _ = attributes.nested(type)?.number(1, as: UInt16.self)
                    }
                }
            }
        },
        FuzzTarget("patch") { bytes in
            // The object, a line break, the patch.
            let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1)
            guard parts.count == 2, let object = try? JSON(parsing: parts[0]), let patch = try? JSON(parsing: parts[1])
            else { return }
            _ = try? JSONPatch.apply(patch, to: object)
            _ = MergePatch.apply(patch, to: object)
            let pods = GroupVersionResource("", "v1", "pods")
            guard let type = ResourceRegistry.shared.resource(pods) else { return }
            _ = try? StrategicMergePatch.apply(patch, to: object, type: type)
        },
        FuzzTarget("apply") { bytes in
            // The object with its managedFields, a line break, what is applied.
            let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1)
            guard parts.count == 2, let object = try? JSON(parsing: parts[0]), let wish = try? JSON(parsing: parts[1]),
                object.object != nil, wish.object != nil,
                let type = ResourceRegistry.shared.resource(GroupVersionResource("", "v1", "pods"))
            else { return }
            let live = KubeObject(object)
            let managed = ManagedFields(live.metadata["managedFields"])
            _ = managed.json
            let writer = ManagedFields.Writer(manager: "m", operation: .apply, apiVersion: "v1")
            let rules = ServerSideApply(type)
            for force in [false, true] {
                do throws(ServerSideApply.Conflict) {
                    let result = try rules.apply(
                        KubeObject(wish), to: live, managed, writer, force: force, time: "2026-01-01T00:00:00Z")
                    _ = rules.updated(
                        result.object, from: live, live.metadata["managedFields"], writer, time: "2026-01-01T00:00:00Z")
                } catch { _ = error.message }
            }
        },
        FuzzTarget("object") { bytes in
            guard let json = try? JSON(parsing: bytes), json.object != nil else { return }
            let object = KubeObject(json)
            for kind in ["Pod", "Service"] {
                _ = ResourceRegistry.shared.decode(
                    object, asKind: GroupVersionKind("", "v1", kind))
            }
        },
        FuzzTarget(text: "addresses") { text in
            _ = IPAddress(text).map { "\($0)" }
            _ = CIDR(text).map { "\($0)" }
            _ = MACAddress(text).map { "\($0)" }
            _ = Quantity(text)
            _ = Timestamp(text)
        },
    ]
}
