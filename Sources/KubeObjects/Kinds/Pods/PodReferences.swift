// SPDX-License-Identifier: Apache-2.0

import Values

/// The names of the objects that a pod refers to.
public enum PodReferences {
    /// ConfigMaps in volumes and variables.
    public static func configMaps(_ pod: KubeObject) -> Set<String> {
        var names = environment(pod, key: "configMapKeyRef", all: "configMapRef")
        for volume in pod["spec"]["volumes"].array ?? [] {
            names.insert(volume["configMap"]["name"].string)
            for source in volume["projected"]["sources"].array ?? [] {
                names.insert(source["configMap"]["name"].string)
            }
        }
        return Set(names.compactMap { $0 })
    }

    /// Secrets in volumes and variables, and those with which images are pulled.
    public static func secrets(_ pod: KubeObject) -> Set<String> {
        var names = environment(pod, key: "secretKeyRef", all: "secretRef")
        for secret in pod["spec"]["imagePullSecrets"].array ?? [] { names.insert(secret["name"].string) }
        for volume in pod["spec"]["volumes"].array ?? [] {
            for (_, source) in volume.object ?? [:] {
                names.insert(source["secretName"].string)
                for field in ["secretRef", "nodePublishSecretRef"] { names.insert(source[field]["name"].string) }
            }
            for source in volume["projected"]["sources"].array ?? [] { names.insert(source["secret"]["name"].string) }
        }
        return Set(names.compactMap { $0 })
    }

    /// The claims, those made for the pod alone among them.
    public static func claims(_ pod: KubeObject) -> Set<String> {
        Set(
            (pod["spec"]["volumes"].array ?? []).compactMap { volume in
                if let name = volume["persistentVolumeClaim"]["claimName"].string { return name }
                return volume["ephemeral"].object == nil ? nil : "\(pod.name)-\(volume["name"].string ?? "")"
            })
    }

    /// The Secrets of a PersistentVolume, which may lie in any namespace.
    public static func secrets(ofVolume volume: KubeObject) -> Set<ObjectKey> {
        let claimNamespace = volume["spec"]["claimRef"]["namespace"].string
        var keys = Set<ObjectKey>()
        for (_, source) in volume["spec"].object ?? [:] {
            for field in ["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
                guard let name = source[field]["name"].string else { continue }
                keys.insert(ObjectKey(source[field]["namespace"].string ?? claimNamespace, name))
            }
        }
        return keys
    }

    private static func environment(_ pod: KubeObject, key: String, all: String) -> Set<String?> {
        var names = Set<String?>()
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in pod["spec"][list].array ?? [] {
                for variable in container["env"].array ?? [] { names.insert(variable["valueFrom"][key]["name"].string) }
                for source in container["envFrom"].array ?? [] { names.insert(source[all]["name"].string) }
            }
        }
        return names
    }
}
