// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
package import Values
import YAMLCoding

/// The files that a command line names.
extension Session {
    /// What the files that `-f` names hold, lists taken apart.
    package func rawDocuments() throws -> [(path: String, json: JSON)] {
        var result: [(path: String, json: JSON)] = []
        for path in try arguments.all("filename").flatMap(files) {
            let bytes: [UInt8]
            if path == "-" { bytes = input() } else { bytes = try Self.read(path) }
            let parsed: [JSON]
            do { parsed = try YAML.documents(String(decoding: bytes, as: UTF8.self)) } catch {
                throw Failure("Failed to execute command: unable to read \(path): \(error)")
            }
            for json in parsed {
                for item in (json["kind"].string?.hasSuffix("List") ?? false) ? json["items"].array ?? [] : [json] {
                    result.append((path, item))
                }
            }
        }
        return result
    }

    /// The files that `-f` means: a folder's own, and with `-R` those of the folders below, by name.
    private func files(_ path: String) throws -> [String] {
        guard path != "-", Linux.Files.kind(path) == .directory else { return [path] }
        do {
            return try Linux.Files.list(path).flatMap { entry -> [String] in
                let below = "\(path)/\(entry.name)"
                if entry.kind == .directory { return arguments.flag("recursive") ? try files(below) : [] }
                return [".yaml", ".yml", ".json"].contains(where: entry.name.hasSuffix) ? [below] : []
            }
        } catch let error as Errno {
            throw Failure("Failed to execute command: \(error)")
        }
    }

    package static func read(_ path: String) throws -> [UInt8] {
        // Standard input is read so too: whoever writes to it has more time than a file, but not for ever.
        do { return try Files.read(path, patience: .seconds(600)) } catch {
            throw Failure("Failed to execute command: \(error.call) \(path): \(Errno.text(error.code))")
        }
    }

    /// A whole number, nil when the option is not given.
    package func number(_ option: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let text = arguments.value(option) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw Failure(
                "--\(option) \(text): it must be a whole number from \(range.lowerBound) to \(range.upperBound)",
                code: 64)
        }
        return value
    }
}
