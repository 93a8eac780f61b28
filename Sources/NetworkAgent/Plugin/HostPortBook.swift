// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Which sandboxes have which ports of the node. Kept on disk: an agent that starts anew is not told of them again.
final class HostPortBook: Sendable {
    private struct Entry {
        let hostInterface: String
        let subject: String
        let ports: [HostPort]
    }

    /// A port that somebody has already.
    struct Taken: Error, CustomStringConvertible {
        let description: String
    }

    private let entries: Mutex<[String: Entry]>
    /// Nil keeps nothing on disk.
    private let path: String?
    private let logger: Logger
    private let onChange: @Sendable () -> Void

    /// - Parameter isWired: whether a sandbox's link is there, by its host interface and handle.
    init(
        path: String?, logger: Logger, isWired: (_ hostInterface: String, _ handleID: String) -> Bool,
        onChange: @escaping @Sendable () -> Void
    ) {
        self.path = path
        self.logger = logger
        self.onChange = onChange
        var known: [String: Entry] = [:]
        if let path, Files.exists(path) {
            do {
                let json = try JSON(parsing: Files.read(path))
                for (handleID, value) in json.object?.members ?? [] {
                    guard let interface = value["interface"].string, isWired(interface, handleID) else { continue }
                    known[handleID] = Entry(
                        hostInterface: interface, subject: value["subject"].string ?? interface,
                        ports: (value["ports"].array ?? []).compactMap { HostPort($0) })
                }
            } catch {
                logger.error(
                    "\(path) cannot be read, host ports of pods that run already do not lead to them: \(error)")
            }
        }
        entries = Mutex(known)
    }

    var all: Set<HostPort> { entries.withLock { Set($0.values.flatMap(\.ports)) } }

    /// Gives a sandbox its ports, in the place of what a sandbox of the same interface had before.
    func claim(_ ports: [HostPort], _ sandbox: Sandbox) throws {
        let interface = sandbox.link.hostInterface
        try entries.withLock { entries in
            for (handleID, entry) in entries where handleID != sandbox.handleID && entry.hostInterface != interface {
                for port in ports {
                    guard let other = entry.ports.first(where: { $0.conflicts(with: port) }) else { continue }
                    throw Taken(description: "host port \(port.name) is taken: \(entry.subject) has \(other.name)")
                }
            }
            let before = entries
            for (handleID, entry) in before where entry.hostInterface == interface { entries[handleID] = nil }
            if !ports.isEmpty {
                entries[sandbox.handleID] = Entry(hostInterface: interface, subject: sandbox.subject, ports: ports)
            }
            if before.count != entries.count || !ports.isEmpty { try save(entries) }
        }
        onChange()
    }

    /// Takes a sandbox's ports back. None is no error.
    func release(_ handleID: String) {
        let isGone = entries.withLock { entries in
            guard entries.removeValue(forKey: handleID) != nil else { return false }
            do { try save(entries) } catch {
                // What is written is compared with the links that are there when it is read.
                logger.warning("the host ports of \(handleID) stay written down: \(error)")
            }
            return true
        }
        if isGone { onChange() }
    }

    private func save(_ entries: [String: Entry]) throws {
        guard let path else { return }
        var json = JSONObject()
        for (handleID, entry) in entries.sorted(by: { $0.key < $1.key }) {
            json[handleID] = [
                "interface": JSON(entry.hostInterface), "subject": JSON(entry.subject),
                "ports": .array(entry.ports.map(\.json)),
            ]
        }
        try Files.makeDirectories(Files.directory(of: path))
        try Files.replace(path, with: JSON.object(json).serialized(), mode: 0o600, durable: false)
    }
}
