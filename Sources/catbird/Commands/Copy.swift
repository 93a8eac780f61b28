// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Linux
import LocalCluster

/// Files into nodes and out of them: `catbird cp SOURCE [NODE:]/PATH`, `catbird cp NODE:/PATH TARGET`.
struct Copy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp", abstract: "Copies a file into a node, or out of one.")
    @OptionGroup var common: ProfileOptions
    @Argument(help: "A file, or NODE:/PATH.") var source: String
    @Argument(help: "[NODE:]/PATH, or with a node's file a path of this machine.") var target: String

    func run() async throws {
        let (_, profile) = try await NodeCommand.running(common.name)
        let (from, to) = (Self.place(source), Self.place(target))
        if let node = from.node {
            guard to.node == nil else {
                throw LocalClusterError(.usage, "Files are not copied from node to node.", nextStep: "Copy twice.")
            }
            let file = try descriptor(target, O_WRONLY | O_CREAT | O_TRUNC)
            defer { close(file) }
            try await inside(node, profile, "exec cat -- \"$1\"", from.path, [1: file, 2: 2])
        } else {
            guard to.path.hasPrefix("/") else {
                throw LocalClusterError(
                    .usage, "The target \"\(to.path)\" is not an absolute path.",
                    nextStep: "catbird cp \(source) \(to.node.map { "\($0):" } ?? "")/\(to.path)")
            }
            let file = try descriptor(source, O_RDONLY)
            defer { close(file) }
            try await inside(
                to.node, profile, "mkdir -p -- \"${1%/*}/\" && exec cat > \"$1\"", to.path, [0: file, 2: 2])
        }
    }

    private static func place(_ text: String) -> (node: String?, path: String) {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else { return (nil, text) }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
    }

    private func descriptor(_ path: String, _ flags: Int32) throws -> Int32 {
        let file = open(path, flags | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            throw LocalClusterError(.guestError, "\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        return file
    }

    private func inside(
        _ node: String?, _ profile: Profile, _ script: String, _ path: String, _ descriptors: [Int32: Int32]
    ) async throws {
        guard let found = try node.map({ try NodeCommand.node($0, in: profile) }) ?? profile.controlPlaneNode else {
            return
        }
        var spawner = ProcessSpawner("/bin/sh", ["-c", script, "sh", path])
        spawner.descriptors = descriptors
        spawner.namespaces = NodeAccess.namespaces(of: found.name, in: profile.name)
        let status = try await spawner.spawn().wait()
        guard status.isSuccess else {
            throw LocalClusterError(.guestError, "\(path) of node \(found.name) could not be copied.")
        }
    }
}
