// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Sessions
import Values

/// Objects as they stand in files: under `projectcalico.org/v3` outside, `crd.projectcalico.org/v1` in the datastore.
extension Session {
    /// Every object of the files that `-f` names (`-` is standard input), lists taken apart.
    func documents() throws -> [(ResourceKind, KubeObject)] {
        let result = try rawDocuments().map { try document($0.json, $0.path) }
        if result.isEmpty, !arguments.flag("skip-empty") {
            throw Failure("Failed to execute command: no resources specified in file")
        }
        return result
    }

    private func document(_ json: JSON, _ path: String) throws -> (ResourceKind, KubeObject) {
        guard let kindName = json["kind"].string else {
            throw Failure("Failed to execute command: \(path): a resource has no 'kind'. Add one, such as kind: IPPool")
        }
        let apiVersion = json["apiVersion"].string ?? ""
        guard ["projectcalico.org/v3", "crd.projectcalico.org/v1"].contains(apiVersion) else {
            throw Failure(
                "Failed to execute command: \(path): unknown resource type '\(kindName)' and/or version '\(apiVersion)'. "
                    + "calicoctl takes apiVersion: projectcalico.org/v3")
        }
        guard
            let kind = ResourceKind.ofDocument(kind: kindName)
                ?? (kindName == "IPAMConfig" ? try? .named("ipamconfig") : nil)
        else {
            throw Failure(
                "Failed to execute command: \(path): unknown resource type '\(kindName)' and/or version '\(apiVersion)'"
            )
        }
        guard let name = json["metadata"]["name"].string, !name.isEmpty else {
            throw Failure("Failed to execute command: \(path): resource of kind \(kindName) has no metadata.name")
        }
        var object = KubeObject(json)
        if kind.isNamespaced {
            if object.namespace == nil {
                object.json["metadata"]["namespace"] = JSON(arguments.value("namespace") ?? "default")
            }
        } else if object.namespace != nil {
            throw Failure(
                "Failed to execute command: \(kindName)(\(name)) is not namespaced: remove metadata.namespace")
        }
        return (kind, Self.inward(object, kind))
    }

    /// The object as the datastore takes it.
    static func inward(_ object: KubeObject, _ kind: ResourceKind) -> KubeObject {
        var result = object
        result["apiVersion"] = JSON(kind.resource.apiVersion)
        if kind.resource == .ipamConfigs { result["kind"] = "IPAMConfig" }
        return result
    }

    /// The object as calicoctl shows it.
    static func outward(_ object: KubeObject, _ kind: ResourceKind, export: Bool = false) -> KubeObject {
        var result = object
        result["apiVersion"] = "projectcalico.org/v3"
        result["kind"] = JSON(kind.kind)
        result.metadata["managedFields"] = nil
        result.metadata["generation"] = nil
        if kind.resource == .nodes { result = node(object) }
        if export {
            for key in ["uid", "resourceVersion", "creationTimestamp"] { result.metadata[key] = nil }
        }
        return result
    }

    /// Calico's view of a Kubernetes node.
    private static func node(_ node: KubeObject) -> KubeObject {
        let annotations = node.annotations
        var spec: JSON = [:]
        var addresses: [JSON] = []
        if let address = annotations["projectcalico.org/IPv4Address"] {
            spec["bgp"]["ipv4Address"] = JSON(address)
            addresses.append(["address": JSON(address), "type": "CalicoNodeIP"])
        }
        for address in node["status"]["addresses"].array ?? [] where address["type"].string == "InternalIP" {
            addresses.append(["address": address["address"] ?? "", "type": "InternalIP"])
        }
        spec["addresses"] = .array(addresses)
        spec["ipv4VXLANTunnelAddr"] = annotations["projectcalico.org/IPv4VXLANTunnelAddr"].map { JSON($0) }
        spec["orchRefs"] = [["nodeName": JSON(node.name), "orchestrator": "k8s"]]
        return KubeObject([
            "apiVersion": "projectcalico.org/v3", "kind": "Node",
            "metadata": [
                "annotations": node.metadata["annotations"] ?? [:],
                "creationTimestamp": node.metadata["creationTimestamp"] ?? nil,
                "labels": node.metadata["labels"] ?? [:], "name": JSON(node.name),
                "resourceVersion": JSON(node.resourceVersion), "uid": JSON(node.uid),
            ], "spec": spec, "status": [:],
        ])
    }
}
