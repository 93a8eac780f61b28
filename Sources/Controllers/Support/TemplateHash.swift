// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// Names for the revisions of a pod template: the same template always hashes to the same name, so a controller that
/// died after creating an object finds it again instead of creating a second one.
package enum TemplateHash {
    /// Ten letters or fewer that stand for the template. `collisions` moves on to another name when two templates
    /// met in one.
    package static func name(of template: JSON, collisions: Int = 0) -> String {
        var hash: UInt32 = 2_166_136_261
        func mix(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        }
        mix(template.serialized(sortedKeys: true))
        if collisions > 0 { mix(String(collisions).utf8) }
        return safe(String(hash))
    }

    /// Letters and digits that spell no word: the ones generated names are made of.
    package static let alphabet: [Character] = Array("bcdfghjklmnpqrstvwxz2456789")

    private static func safe(_ text: String) -> String {
        String(text.utf8.map { alphabet[Int($0) % alphabet.count] })
    }
}

/// A pod template and the label that tells its revisions apart.
package enum PodTemplate {
    package static let hashLabel = "pod-template-hash"

    /// The same but for the hash label: what a Deployment and its ReplicaSet have in common.
    package static func equalIgnoringHash(_ left: JSON?, _ right: JSON?) -> Bool {
        withoutHash(left) == withoutHash(right)
    }

    private static func withoutHash(_ template: JSON?) -> JSON {
        guard var result = template else { return .object([:]) }
        result["metadata"]["labels"][hashLabel] = nil
        if result["metadata"]["labels"].object?.isEmpty ?? false { result["metadata"]["labels"] = nil }
        if result["metadata"]["creationTimestamp"]?.isNull ?? false { result["metadata"]["creationTimestamp"] = nil }
        if result["metadata"].object?.isEmpty ?? true { result["metadata"] = nil }
        return result
    }

    /// A pod made from the template for `owner`: labels, annotations, finalizers and spec of the template, a name
    /// that the server completes.
    package static func pod(from template: JSON?, owner: KubeObject) -> KubeObject {
        var metadata: JSON = ["generateName": JSON("\(owner.name)-")]
        if let namespace = owner.namespace { metadata["namespace"] = JSON(namespace) }
        for member in ["labels", "annotations", "finalizers"] {
            if let value = template["metadata"][member] { metadata[member] = value }
        }
        metadata["ownerReferences"] = [OwnerReference(controller: owner).json]
        return KubeObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] ?? .object([:]),
        ])
    }
}
