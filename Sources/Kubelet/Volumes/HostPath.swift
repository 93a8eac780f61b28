// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Linux
package import Values

/// A path of the node that a pod asks for, and what has to be there.
package struct HostPath: Sendable, Hashable {
    package let path: String
    package let type: String

    package init(_ source: JSON) {
        path = source["path"].string ?? ""
        type = source["type"].string ?? ""
    }

    /// What is not there, in upstream's words.
    package struct Mismatch: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// Makes what the type says is to be made. Nothing that is there is changed.
    package func make() throws(FileError) {
        switch type {
        case "DirectoryOrCreate", "": if !NodeFiles.exists(path) { try NodeFiles.makeDirectory(path) }
        case "FileOrCreate":
            let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
            if file >= 0 {
                close(file)
            } else if errno != EEXIST {
                throw FileError(call: "open", path: path, code: errno)
            }
        default: break
        }
    }

    /// Opens what is there, and looks at what was opened: whoever writes in the folder may put another thing in its place
    /// at any time, so that a look at the name says nothing of what is mounted later.
    package func place() throws -> FileDescriptor {
        let wanted: (kind: Files.Kind, words: String)? =
            switch type {
            case "Directory", "DirectoryOrCreate": (.directory, "a directory")
            case "File", "FileOrCreate": (.file, "a file")
            case "Socket": (.socket, "a socket file")
            case "CharDevice": (.characterDevice, "a character device")
            case "BlockDevice": (.blockDevice, "a block device")
            default: nil
            }
        func mismatch(_ words: String) -> Mismatch {
            Mismatch(description: "hostPath type check failed: \(path) is not \(words)")
        }
        let place: FileDescriptor
        do throws(Errno) { place = try Files.place(path) } catch {
            if let wanted, error.code == ENOENT { throw mismatch(wanted.words) }
            throw error
        }
        var info = stat()
        guard fstat(place.rawValue, &info) == 0 else { throw Errno("fstat", path) }
        if let wanted, Files.Kind(mode: info.st_mode) != wanted.kind { throw mismatch(wanted.words) }
        return place
    }
}
