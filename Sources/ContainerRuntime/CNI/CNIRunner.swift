// SPDX-License-Identifier: Apache-2.0

public import CNIProtocol
import Glibc
import Linux
public import Values

/// One container's connection to a network.
public struct CNIAttachment: Sendable, Hashable {
    public var containerID: String
    /// Where the network namespace is pinned; empty when it is gone (DEL only).
    public var netns: String
    public var ifName: String
    /// CNI_ARGS in their order.
    public var arguments: [[String]]
    /// Values for the plugins' `capabilities`.
    public var capabilities: [String: String]

    public init(
        containerID: String, netns: String, ifName: String = "eth0", arguments: [[String]] = [],
        capabilities: [String: String] = [:]
    ) {
        self.containerID = containerID
        self.netns = netns
        self.ifName = ifName
        self.arguments = arguments
        self.capabilities = capabilities
    }
}

/// Runs CNI plugins by the specification: executables, in the order of the configuration in force.
///
/// What was asked and answered is kept in `cacheDir` in the form of the reference library, so that DEL and CHECK are
/// given the configuration and the result of their ADD, also after a restart and after the configuration changed.
public struct CNIRunner: Sendable {
    public var confDir: String
    /// One folder or several, separated by colons.
    public var binDir: String
    public var cacheDir: String
    /// How long a plugin may take before it is killed: a pod must not wait for ever for one that hangs.
    public var patience: Duration = .seconds(120)

    public init(confDir: String, binDir: String, cacheDir: String) {
        self.confDir = confDir
        self.binDir = binDir
        self.cacheDir = cacheDir
    }

    // MARK: Configuration

    /// The configuration in force: the first of the folder by name that is one (`.conflist`, `.conf`, `.json`).
    public func configuration() throws -> (list: NetworkConfigurationList, raw: [UInt8], path: String) {
        let names = ((try? Files.list(confDir)) ?? []).map(\.name).filter { name in
            [".conflist", ".conf", ".json"].contains { name.hasSuffix($0) }
        }
        var problem: String?
        for name in names {
            let path = "\(confDir)/\(name)"
            do {
                let raw = try Files.read(path, limit: 4 << 20)
                return (try NetworkConfigurationList(parsing: raw), raw, path)
            } catch { problem = problem ?? "\(path): \(error)" }
        }
        if let problem { throw RuntimeError(.network, "cni plugin not initialized: \(problem)") }
        throw RuntimeError(.network, "cni plugin not initialized: no network config found in \(confDir)")
    }

    /// Whether ADD could be tried: there is a configuration and its plugins are there.
    public func readiness() -> (ready: Bool, message: String) {
        do {
            let (list, _, path) = try configuration()
            for plugin in list.plugins {
                let type = plugin["type"].string ?? ""
                guard executable(type) != nil else {
                    return (
                        false,
                        "network \"\(list.name)\" of \(path) needs the plugin \"\(type)\", which is not in \(binDir)"
                    )
                }
            }
            return (true, "")
        } catch { return (false, "\(error)") }
    }

    private func executable(_ type: String) -> String? {
        for folder in binDir.split(separator: ":") {
            let path = "\(folder)/\(type)"
            if Files.kind(path, follow: true) == .file, access(path, X_OK) == 0 { return path }
        }
        return nil
    }

    // MARK: Verbs

    /// Connects the container and returns what the last plugin answered.
    public func add(_ attachment: CNIAttachment) async throws -> JSON {
        let (list, raw, _) = try configuration()
        var result: JSON?
        // Noted before the first plugin runs: whatever happens then, DEL knows what to undo.
        try writeCache(attachment, list, raw, result: nil)
        for index in list.plugins.indices {
            result = try await run(.add, list, index, attachment, previous: result) ?? .null
        }
        try writeCache(attachment, list, raw, result: result)
        return result ?? .null
    }

    /// Disconnects the container, in reverse order. An attachment that nobody knows is no error.
    public func delete(_ attachment: CNIAttachment) async throws {
        let cached = readCache(attachment)
        guard let list = cached?.list ?? (try? configuration().list) else { return }
        let previous = list.cniVersion >= .v0_4_0 ? cached?.result : nil
        for index in list.plugins.indices.reversed() {
            _ = try await run(.delete, list, index, attachment, previous: previous)
        }
        for path in cachePaths(of: attachment.containerID, attachment.ifName) { unlink(path) }
    }

    /// Throws when a plugin finds the container's network not as it made it.
    public func check(_ attachment: CNIAttachment) async throws {
        guard let cached = readCache(attachment), let result = cached.result else {
            throw RuntimeError(.network, "CHECK of \(attachment.containerID): no ADD of it is on record")
        }
        guard cached.list.cniVersion >= .v0_4_0, !cached.list.disableCheck else { return }
        for index in cached.list.plugins.indices {
            _ = try await run(.check, cached.list, index, attachment, previous: result)
        }
    }

    /// Throws when a plugin says that it cannot serve ADD. Versions before 1.1.0 know no such question.
    public func status() async throws {
        let (list, _, _) = try configuration()
        guard list.cniVersion >= .v1_1_0 else { return }
        for index in list.plugins.indices { _ = try await run(.status, list, index, nil, previous: nil) }
    }

    /// Lets plugins free what belongs to no attachment but these.
    public func collectGarbage(keeping attachments: [CNIAttachment]) async throws {
        let (list, _, _) = try configuration()
        let kept = Set(attachments.map { "\(list.name)-\($0.containerID)-\($0.ifName)" })
        for entry in (try? Files.list(cacheDir)) ?? []
        where entry.name.hasPrefix(list.name + "-") && !kept.contains(entry.name) {
            guard let json = (try? Files.read("\(cacheDir)/\(entry.name)")).flatMap({ try? JSON(parsing: $0) }),
                let id = json["containerId"].string, let ifName = json["ifName"].string
            else { continue }
            try? await delete(CNIAttachment(containerID: id, netns: "", ifName: ifName))
        }
        guard list.cniVersion >= .v1_1_0, !list.disableGC else { return }
        let valid = JSON.array(
            attachments.map { ["containerID": JSON($0.containerID), "ifname": JSON($0.ifName)] })
        var failure: (any Error)?
        for index in list.plugins.indices {
            guard var configuration = list.configuration(plugin: index) else { continue }
            configuration["cni.dev/valid-attachments"] = valid
            configuration["cni.dev/attachments"] = valid
            do { _ = try await execute(.garbageCollect, configuration, nil) } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    /// Has the plugins give back what the cache says was given to containers that are not among these.
    ///
    /// - Parameter isKnown: asked about each container after its entry was read: one that is being made meanwhile was
    ///   known before there was an entry.
    package func removeForgotten(_ isKnown: (String) -> Bool) async throws {
        var failure: (any Error)?
        for entry in (try? Files.list(cacheDir)) ?? [] {
            guard let json = (try? Files.read("\(cacheDir)/\(entry.name)")).flatMap({ try? JSON(parsing: $0) }),
                let id = json["containerId"].string, let ifName = json["ifName"].string, !isKnown(id)
            else { continue }
            do { try await delete(CNIAttachment(containerID: id, netns: "", ifName: ifName)) } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// The versions that a plugin speaks.
    public func versions(of type: String) async throws -> [String] {
        let answer = try await execute(.version, ["cniVersion": "1.1.0", "type": JSON(type)], nil)
        return answer.flatMap(PluginVersions.init)?.supported ?? []
    }

    // MARK: Running one plugin

    private func run(
        _ command: CNICommand, _ list: NetworkConfigurationList, _ index: Int, _ attachment: CNIAttachment?,
        previous: JSON?
    ) async throws -> JSON? {
        var runtime = JSONObject()
        for (name, text) in attachment?.capabilities ?? [:] { runtime[name] = try? JSON(parsing: text) }
        guard
            let configuration = list.configuration(
                plugin: index, previousResult: previous, runtimeConfig: .object(runtime))
        else { return nil }
        return try await execute(command, configuration, attachment)
    }

    private func execute(_ command: CNICommand, _ configuration: JSON, _ attachment: CNIAttachment?) async throws
        -> JSON?
    {
        let type = configuration["type"].string ?? ""
        func failure(_ message: String) -> RuntimeError {
            RuntimeError(.network, "plugin type=\"\(type)\" failed (\(command.rawValue.lowercased())): \(message)")
        }
        guard let path = executable(type) else {
            throw failure("there is no executable \"\(type)\" in \(binDir)")
        }
        var environment = ProcessSpawner.ownEnvironment.filter { !$0.key.hasPrefix("CNI_") }
        environment["CNI_COMMAND"] = command.rawValue
        environment["CNI_PATH"] = binDir
        if let attachment {
            environment["CNI_CONTAINERID"] = attachment.containerID
            environment["CNI_NETNS"] = attachment.netns
            environment["CNI_IFNAME"] = attachment.ifName
            environment["CNI_ARGS"] = attachment.arguments.map { $0.joined(separator: "=") }.joined(separator: ";")
        }
        let output: PluginOutput
        do {
            output = try await PluginOutput.of(
                ProcessSpawner(path, environment: environment), input: configuration.serialized(), patience: patience)
        } catch { throw failure("\(error)") }
        if output.isKilled { throw failure("it did not end within \(patience) and was killed") }
        let answer = try? JSON(parsing: output.answer)
        guard output.status.isSuccess else {
            if let answer, let error = CNIError(answer) { throw failure(error.description) }
            let words = String(decoding: output.errors.isEmpty ? output.answer : output.errors, as: UTF8.self)
                .split(separator: "\n").prefix(5)
            throw failure("\(output.status)" + (words.isEmpty ? "" : ": \(words.joined(separator: "; "))"))
        }
        guard command == .add || command == .version else { return nil }
        guard let answer, answer.object != nil else {
            throw failure(
                "it answered with what is not a result: \"\(String(decoding: output.answer.prefix(200), as: UTF8.self))\""
            )
        }
        return answer
    }

    // MARK: Cache

    private func cachePaths(of containerID: String, _ ifName: String) -> [String] {
        ((try? Files.list(cacheDir)) ?? []).map(\.name).filter { $0.hasSuffix("-\(containerID)-\(ifName)") }
            .map { "\(cacheDir)/\($0)" }
    }

    private func writeCache(
        _ attachment: CNIAttachment, _ list: NetworkConfigurationList, _ raw: [UInt8], result: JSON?
    ) throws {
        var json: JSON = [
            "kind": "cniCacheV1", "containerId": JSON(attachment.containerID), "config": JSON(Base64.text(raw)),
            "ifName": JSON(attachment.ifName), "networkName": JSON(list.name), "netns": JSON(attachment.netns),
            "cniArgs": .array(attachment.arguments.map { JSON($0) }),
        ]
        if !attachment.capabilities.isEmpty {
            var values = JSONObject()
            for (name, text) in attachment.capabilities.sorted(by: { $0.key < $1.key }) {
                values[name] = try? JSON(parsing: text)
            }
            json["capabilityArgs"] = .object(values)
        }
        json["result"] = result
        do {
            try Files.makeDirectories(cacheDir, mode: 0o700)
            try Files.replace(
                "\(cacheDir)/\(list.name)-\(attachment.containerID)-\(attachment.ifName)", with: json.serialized(),
                durable: false)
        } catch { throw RuntimeError(.network, "the CNI result cannot be kept: \(error)") }
    }

    private func readCache(_ attachment: CNIAttachment) -> (list: NetworkConfigurationList, result: JSON?)? {
        for path in cachePaths(of: attachment.containerID, attachment.ifName) {
            guard let bytes = try? Files.read(path), let json = try? JSON(parsing: bytes),
                let raw = json["config"].string.flatMap({ Base64.bytes($0) }),
                let list = try? NetworkConfigurationList(parsing: raw)
            else { continue }
            return (list, json["result"].flatMap { $0.isNull ? nil : $0 })
        }
        return nil
    }
}
