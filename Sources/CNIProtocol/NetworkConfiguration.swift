// SPDX-License-Identifier: Apache-2.0

public import Values

/// A plugin's configuration: what the runtime writes to its standard input.
public struct NetworkConfiguration: Sendable, Hashable {
    public var json: JSON
    public let cniVersion: CNIVersion
    public let name: String
    public let type: String

    /// Checks what the specification requires; `requireName` is false for a plugin inside a list, which inherits it.
    public init(_ json: JSON, requireName: Bool = true) throws(CNIError) {
        guard json.object != nil else {
            throw CNIError(.undecodable, "the network configuration is not a JSON object but \(json.typeName)")
        }
        self.json = json
        cniVersion = try CNIVersion(parsing: json["cniVersion"].string ?? CNIVersion.v0_3_0.rawValue)
        name = json["name"].string ?? ""
        type = json["type"].string ?? ""
        if requireName || !name.isEmpty { try Self.check(name: name) }
    }

    public init(parsing bytes: [UInt8]) throws(CNIError) {
        do {
            try self.init(JSON(parsing: bytes))
        } catch let error as CNIError {
            throw error
        } catch {
            throw CNIError(.undecodable, "the network configuration cannot be read: \(error)")
        }
    }

    /// The result of the plugin before this one, in any version's shape.
    public func previousResult() throws(CNIError) -> CNIResult? {
        guard let json = json["prevResult"], !json.isNull else { return nil }
        return try CNIResult(json)
    }

    /// The `cni.dev/valid-attachments` of a GC request: container and interface of each that is to stay.
    public var validAttachments: [(containerID: String, ifName: String)] {
        (json["cni.dev/valid-attachments"].array ?? json["cni.dev/attachments"].array ?? []).compactMap {
            guard let id = $0["containerID"].string, let name = $0["ifname"].string else { return nil }
            return (id, name)
        }
    }

    static func check(name: String) throws(CNIError) {
        guard CNIParameters.isContainerID(name) else {
            throw CNIError(
                .invalidConfiguration,
                name.isEmpty ? "the network configuration has no name" : "the network's name \"\(name)\" is malformed",
                details: "it starts with a letter or digit, followed by letters, digits, '_', '.' and '-'")
        }
    }
}

/// A network: the plugins to run one after the other, from a `.conflist`, or from a `.conf` with a single plugin.
public struct NetworkConfigurationList: Sendable, Hashable {
    public let cniVersion: CNIVersion
    public let name: String
    public let disableCheck: Bool
    public let disableGC: Bool
    /// As written in the file.
    public let plugins: [JSON]

    public init(parsing bytes: [UInt8]) throws(CNIError) {
        let json: JSON
        do { json = try JSON(parsing: bytes) } catch {
            throw CNIError(.undecodable, "the network configuration cannot be read: \(error)")
        }
        try self.init(json)
    }

    public init(_ json: JSON) throws(CNIError) {
        guard json.object != nil else {
            throw CNIError(.undecodable, "the network configuration is not a JSON object but \(json.typeName)")
        }
        name = json["name"].string ?? ""
        try NetworkConfiguration.check(name: name)
        cniVersion = try Self.version(of: json)
        disableCheck = try Self.flag("disableCheck", json)
        disableGC = try Self.flag("disableGC", json)
        if let list = json["plugins"] {
            guard let elements = list.array, !elements.isEmpty else {
                throw CNIError(
                    .invalidConfiguration, "network \"\(name)\": plugins is not a list with at least one plugin")
            }
            plugins = elements
        } else {
            plugins = [json]
        }
        for (index, plugin) in plugins.enumerated() {
            guard let type = plugin["type"].string, !type.isEmpty else {
                throw CNIError(.invalidConfiguration, "network \"\(name)\": plugins[\(index)] has no type")
            }
            guard !type.contains("/"), type != ".", type != ".." else {
                throw CNIError(
                    .invalidConfiguration, "network \"\(name)\": plugins[\(index)].type \"\(type)\" is not a file name")
            }
        }
    }

    /// The highest version offered (`cniVersions`, since 1.1.0) that is spoken here, else `cniVersion`.
    private static func version(of json: JSON) throws(CNIError) -> CNIVersion {
        let offered = (json["cniVersions"].array ?? []).compactMap { $0.string.flatMap(CNIVersion.init(rawValue:)) }
        if let best = offered.max() { return best }
        return try CNIVersion(parsing: json["cniVersion"].string ?? CNIVersion.v0_3_0.rawValue)
    }

    /// The reference library takes the words as well as the JSON booleans.
    private static func flag(_ key: String, _ json: JSON) throws(CNIError) -> Bool {
        switch json[key] {
        case nil, .null: return false
        case .bool(let value): return value
        case .string(let word) where word.lowercased() == "true": return true
        case .string(let word) where word.lowercased() == "false": return false
        case .some(let value):
            throw CNIError(.invalidConfiguration, "\(key) is \(value), which is neither true nor false")
        }
    }

    /// The plugin's configuration for one call: name and version of the list, what the previous plugin said, and the
    /// runtime's values for the capabilities that the plugin declares.
    public func configuration(
        plugin index: Int, previousResult: JSON? = nil, runtimeConfig: JSON? = nil
    ) -> JSON? {
        guard plugins.indices.contains(index) else { return nil }
        var json = plugins[index]
        let capabilities = json["capabilities"].object
        json["name"] = JSON(name)
        json["cniVersion"] = JSON(cniVersion.rawValue)
        json["capabilities"] = nil
        var runtime = JSONObject()
        for (key, value) in runtimeConfig.object ?? [:] where capabilities?[key].bool == true { runtime[key] = value }
        json["runtimeConfig"] = runtime.isEmpty ? nil : .object(runtime)
        json["prevResult"] = previousResult
        return json
    }
}
