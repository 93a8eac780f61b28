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
            try await receive(into: target) { file in
                try await inside(node, profile, Self.reading, from.path, [1: file, 2: 2])
            }
        } else {
            guard to.path.hasPrefix("/") else {
                throw LocalClusterError(
                    .usage, "The target \"\(to.path)\" is not an absolute path.",
                    nextStep: "catbird cp \(source) \(to.node.map { "\($0):" } ?? "")/\(to.path)")
            }
            let file = try descriptor(source, O_RDONLY, kinds: [S_IFREG])
            defer { close(file) }
            try await inside(to.node, profile, Self.writing, to.path, [0: file, 2: 2])
        }
    }

    /// Files alone: a pipe would be waited for without end.
    private static let reading = #"[ -f "$1" ] || { echo "$1 is no file" >&2; exit 1; }; exec cat -- "$1""#
    private static let writing = #"""
        [ ! -e "$1" ] || [ -f "$1" ] || { echo "$1 is there and no file" >&2; exit 1; }
        mkdir -p -- "${1%/*}/" && exec cat > "$1"
        """#

    /// A file is filled beside the target and takes its place when it is whole: what is there stays as it is when there
    /// is nothing to copy, or the copy breaks off. A device such as /dev/null takes what comes at once.
    private func receive(into target: String, _ copy: (Int32) async throws -> Void) async throws {
        var info = stat()
        let isThere = stat(target, &info) == 0
        if isThere, info.st_mode & S_IFMT != S_IFREG {
            let file = try descriptor(target, O_WRONLY, kinds: [S_IFCHR])
            defer { close(file) }
            return try await copy(file)
        }
        // A link to a file goes on leading to it.
        let resolved = isThere ? realpath(target, nil) : nil
        defer { free(resolved) }
        let path = resolved.map { String(cString: $0) } ?? target
        let beside = "\(path).catbird-\(getpid())"
        let file = try descriptor(beside, O_WRONLY | O_CREAT | O_EXCL, kinds: [S_IFREG])
        defer { close(file) }
        do {
            try await copy(file)
            if isThere {
                fchmod(file, info.st_mode & 0o7777)
                // Who is not root keeps what is theirs in any case.
                _ = fchown(file, info.st_uid, info.st_gid)
            }
            guard rename(beside, path) == 0 else {
                throw LocalClusterError(.guestError, "\(path) cannot be written: \(String(cString: strerror(errno)))")
            }
        } catch {
            unlink(beside)
            throw error
        }
    }

    private static func place(_ text: String) -> (node: String?, path: String) {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else { return (nil, text) }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
    }

    /// Opens without waiting for anybody; what is read or written through it later waits as usual.
    private func descriptor(_ path: String, _ flags: Int32, kinds: Set<mode_t>) throws -> Int32 {
        let file = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0o644)
        guard file >= 0 else {
            throw LocalClusterError(.guestError, "\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        var info = stat()
        guard fstat(file, &info) == 0, kinds.contains(info.st_mode & S_IFMT), fcntl(file, F_SETFL, 0) == 0 else {
            close(file)
            throw LocalClusterError(.guestError, "\(path) is no file: files are copied, one at a time.")
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
