// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// Why a volume cannot be set up now.
package struct VolumeError: Error, Hashable, Sendable, CustomStringConvertible {
    package let volume: String
    package let message: String

    package init(_ volume: String, _ message: String) {
        self.volume = volume
        self.message = message
    }

    package var description: String { "MountVolume.SetUp failed for volume \"\(volume)\" : \(message)" }
}

/// An object whose content a volume or an environment shows.
package struct ObjectReference: Sendable, Hashable {
    package let resource: GroupVersionResource
    package let key: ObjectKey

    package init(_ resource: GroupVersionResource, _ namespace: String, _ name: String) {
        self.resource = resource
        key = ObjectKey(namespace, name)
    }
}

/// A token that a projected volume asks for.
package struct TokenRequest: Sendable, Hashable {
    package let audience: String
    package let expirationSeconds: Int
    package let path: String

    package init(audience: String, expirationSeconds: Int, path: String) {
        self.audience = audience
        self.expirationSeconds = expirationSeconds
        self.path = path
    }
}

/// The files of configMap, secret, downwardAPI and projected volumes, computed from the objects they show.
package enum VolumePayload {
    /// The objects that the pod's volumes and variables refer to.
    package static func references(of pod: PodView) -> Set<ObjectReference> {
        var result: Set<ObjectReference> = []
        func configMap(_ name: String?) {
            if let name { result.insert(ObjectReference(.configMaps, pod.namespace, name)) }
        }
        func secret(_ name: String?) {
            if let name { result.insert(ObjectReference(.secrets, pod.namespace, name)) }
        }
        for volume in pod.spec["volumes"].array ?? [] {
            configMap(volume["configMap"]["name"].string)
            secret(volume["secret"]["secretName"].string)
            for source in volume["projected"]["sources"].array ?? [] {
                configMap(source["configMap"]["name"].string)
                secret(source["secret"]["name"].string)
            }
        }
        for container in pod.allContainers + pod.ephemeralContainers {
            for source in container.json["envFrom"].array ?? [] {
                configMap(source["configMapRef"]["name"].string)
                secret(source["secretRef"]["name"].string)
            }
            for variable in container.json["env"].array ?? [] {
                configMap(variable["valueFrom"]["configMapKeyRef"]["name"].string)
                secret(variable["valueFrom"]["secretKeyRef"]["name"].string)
            }
        }
        return result
    }

    /// The tokens that a volume asks for.
    package static func tokens(of volume: JSON) -> [TokenRequest] {
        (volume["projected"]["sources"].array ?? []).compactMap { source in
            guard let token = source["serviceAccountToken"], let path = token["path"].string else { return nil }
            return TokenRequest(
                audience: token["audience"].string ?? "", expirationSeconds: token["expirationSeconds"].int ?? 3600,
                path: path)
        }
    }

    /// Nil for a volume of another kind. `object` answers with what is known now.
    package static func files(
        of volume: JSON, pod: PodView, environment: EnvironmentSources, tokens: [TokenRequest: String],
        object: (ObjectReference) -> KubeObject?
    ) throws(VolumeError) -> [ProjectedFile]? {
        let name = volume["name"].string ?? ""
        if let source = volume["configMap"] {
            return try configMap(source, name, mode(source, 0o644), pod, object)
        }
        if let source = volume["secret"] {
            return try secret(source, source["secretName"].string, name, mode(source, 0o644), pod, object)
        }
        if let source = volume["downwardAPI"] {
            return try downward(source, name, mode(source, 0o644), pod, environment)
        }
        guard let projected = volume["projected"] else { return nil }
        let mode = mode(projected, 0o644)
        var files: [String: ProjectedFile] = [:]
        for source in projected["sources"].array ?? [] {
            var some: [ProjectedFile] = []
            if let part = source["configMap"] { some += try configMap(part, name, mode, pod, object) }
            if let part = source["secret"] { some += try secret(part, part["name"].string, name, mode, pod, object) }
            if let part = source["downwardAPI"] { some += try downward(part, name, mode, pod, environment) }
            if let token = source["serviceAccountToken"], let path = token["path"].string {
                let request = TokenRequest(
                    audience: token["audience"].string ?? "",
                    expirationSeconds: token["expirationSeconds"].int ?? 3600, path: path)
                guard let text = tokens[request] else { throw VolumeError(name, "no service account token yet") }
                some.append(
                    ProjectedFile(path: try checked(path, name), mode: tokenMode(pod, mode), content: Array(text.utf8)))
            }
            for file in some { files[file.path] = file }
        }
        return files.values.sorted { $0.path < $1.path }
    }

    /// A token is its reader's alone when all containers run as one user.
    private static func tokenMode(_ pod: PodView, _ mode: UInt32) -> UInt32 {
        pod.spec["securityContext"]["fsGroup"].int != nil ? 0o600 : mode
    }

    private static func mode(_ source: JSON, _ standard: UInt32) -> UInt32 {
        source["defaultMode"].int.flatMap { (0...0o777).contains($0) ? UInt32($0) : nil } ?? standard
    }

    private static func checked(_ path: String, _ volume: String) throws(VolumeError) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !path.isEmpty, !path.hasPrefix("/"), !parts.contains(".."), !path.hasPrefix("..") else {
            throw VolumeError(volume, "path \"\(path)\" must be relative and must not contain \"..\"")
        }
        return path
    }

    private static func configMap(
        _ source: JSON, _ volume: String, _ mode: UInt32, _ pod: PodView, _ object: (ObjectReference) -> KubeObject?
    ) throws(VolumeError) -> [ProjectedFile] {
        let name = source["name"].string ?? ""
        let optional = source["optional"].bool ?? false
        guard let found = object(ObjectReference(.configMaps, pod.namespace, name)) else {
            if optional { return [] }
            throw VolumeError(volume, "configmap \"\(name)\" not found")
        }
        var data: [String: [UInt8]] = [:]
        for (key, value) in found["data"].object?.strings ?? [:] { data[key] = Array(value.utf8) }
        for (key, value) in found["binaryData"].object?.strings ?? [:] { data[key] = Base64.bytes(value) ?? [] }
        return try select(data, source, volume, mode, optional, "configmap references non-existent config key")
    }

    private static func secret(
        _ source: JSON, _ name: String?, _ volume: String, _ mode: UInt32, _ pod: PodView,
        _ object: (ObjectReference) -> KubeObject?
    ) throws(VolumeError) -> [ProjectedFile] {
        let name = name ?? ""
        let optional = source["optional"].bool ?? false
        guard let found = object(ObjectReference(.secrets, pod.namespace, name)) else {
            if optional { return [] }
            throw VolumeError(volume, "secret \"\(name)\" not found")
        }
        let data = (found["data"].object?.strings ?? [:]).mapValues { Base64.bytes($0) ?? [] }
        return try select(data, source, volume, mode, optional, "references non-existent secret key")
    }

    private static func select(
        _ data: [String: [UInt8]], _ source: JSON, _ volume: String, _ mode: UInt32, _ optional: Bool, _ missing: String
    ) throws(VolumeError) -> [ProjectedFile] {
        guard let items = source["items"].array, !items.isEmpty else {
            return data.map { ProjectedFile(path: $0.key, mode: mode, content: $0.value) }
        }
        var files: [ProjectedFile] = []
        for item in items {
            let key = item["key"].string ?? ""
            guard let content = data[key] else {
                if optional { continue }
                throw VolumeError(volume, "\(missing): \(key)")
            }
            let itemMode = item["mode"].int.flatMap { (0...0o777).contains($0) ? UInt32($0) : nil } ?? mode
            files.append(
                ProjectedFile(path: try checked(item["path"].string ?? key, volume), mode: itemMode, content: content))
        }
        return files
    }

    private static func downward(
        _ source: JSON, _ volume: String, _ mode: UInt32, _ pod: PodView, _ environment: EnvironmentSources
    ) throws(VolumeError) -> [ProjectedFile] {
        var files: [ProjectedFile] = []
        for item in source["items"].array ?? [] {
            let text: String
            do throws(ContainerConfigError) {
                if let path = item["fieldRef"]["fieldPath"].string {
                    text = try ContainerEnvironment.field(path, of: pod, environment)
                } else if let reference = item["resourceFieldRef"] {
                    text = try ContainerEnvironment.resource(
                        reference, defaultContainer: nil, of: pod, environment.allocatable)
                } else {
                    continue
                }
            } catch {
                throw VolumeError(volume, error.message)
            }
            let itemMode = item["mode"].int.flatMap { (0...0o777).contains($0) ? UInt32($0) : nil } ?? mode
            files.append(
                ProjectedFile(
                    path: try checked(item["path"].string ?? "", volume), mode: itemMode, content: Array(text.utf8)))
        }
        return files
    }
}
