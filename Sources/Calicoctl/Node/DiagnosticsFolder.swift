// SPDX-License-Identifier: Apache-2.0

import Sessions
import Glibc
import Linux
import Values

/// A folder that outputs of commands are collected in, and that becomes an archive.
struct DiagnosticsFolder {
    private let parent: String
    let name: String
    private var path: String { "\(parent)/\(name)" }

    /// In a new folder of its own below `directory`.
    init(_ name: String, in directory: String) throws {
        self.name = name
        parent = "\(directory)/calico\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories("\(parent)/\(name)", mode: 0o700)
    }

    /// The output of a command as a file; of one that cannot run, why. Returns whether it ended with 0.
    @discardableResult
    func collect(_ file: String, _ program: String, _ arguments: [String]) async throws -> Bool {
        let target = "\(path)/\(file)"
        try Files.makeDirectories(Files.directory(of: target), mode: 0o700)
        do {
            let output = try await ProcessSpawner(program, arguments).run(limit: 64 << 20)
            var text = output.output
            if !output.status.isSuccess || !output.errors.isEmpty {
                text += Array("\n# \(program) \(arguments.joined(separator: " ")): \(output.status)\n".utf8)
                text += output.errors
            }
            try Files.replace(target, with: text, durable: false)
            return output.status.isSuccess
        } catch let error as SpawnError {
            try Files.replace(target, with: Array("\(error)\n".utf8), durable: false)
            return false
        }
    }

    /// Packs the folder as `NAME.tar.gz` in `directory` and removes it, unless it is to stay. Returns the archive's path.
    func pack(into directory: String?, keep: Bool) async throws -> String {
        let archive = "\(directory ?? parent)/\(name).tar.gz"
        let output = try await ProcessSpawner("tar", ["-czf", archive, "-C", parent, name]).run(limit: 1 << 16)
        guard output.status.isSuccess else { throw Failure("tar cannot write \(archive): \(output.errorText)") }
        if !keep { try Files.removeTree(path) }
        if !keep, directory != nil { rmdir(parent) }
        return archive
    }

    /// `20261124_090000`, in UTC.
    static func stamp(_ time: Timestamp = .now) -> String {
        let digits = "\(time)".filter { $0.isNumber || $0 == "T" }
        return String(digits.prefix(15)).replacing("T", with: "_")
    }
}
