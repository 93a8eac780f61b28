// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// A file that a volume shows.
package struct ProjectedFile: Sendable, Hashable {
    /// Relative, without `..`.
    package let path: String
    package let mode: UInt32
    package let content: [UInt8]

    package init(path: String, mode: UInt32, content: [UInt8]) {
        self.path = path
        self.mode = mode
        self.content = content
    }
}

/// Writes the files of a volume so that a reader sees either all of the old ones or all of the new ones.
///
/// The files live in a directory with a name of its own; the link `..data` leads to it and is replaced by a rename;
/// the names that containers see are links through `..data`.
package struct AtomicWriter: Sendable {
    package let directory: String
    /// The group that the files belong to, and may read; nil: root's.
    package let group: UInt32?

    package init(directory: String, group: UInt32? = nil) {
        self.directory = directory
        self.group = group
    }

    /// Returns whether anything changed.
    @discardableResult
    package func write(_ files: [ProjectedFile]) throws(FileError) -> Bool {
        try NodeFiles.makeDirectory(directory)
        let files = files.sorted { $0.path < $1.path }
        let data = directory + "/..data"
        let old = NodeFiles.link(data)
        if let old, isCurrent(files, in: "\(directory)/\(old)") {
            try link(files)
            return false
        }
        let name = try makeVersion()
        for file in files {
            let path = "\(directory)/\(name)/\(file.path)"
            if let slash = path.lastIndex(of: "/") {
                try NodeFiles.makeDirectory(String(path[..<slash]))
            }
            try NodeFiles.write(file.content, to: path, mode: permissions(file.mode))
            if let group { try NodeFiles.check(chown(path, uid_t.max, group), "chown", path) }
        }
        let temporary = directory + "/..data_tmp"
        unlink(temporary)
        try NodeFiles.check(symlink(name, temporary), "symlink", temporary)
        try NodeFiles.check(rename(temporary, data), "rename", temporary)
        try link(files)
        if let old, old != name { try NodeFiles.removeTree("\(directory)/\(old)") }
        return true
    }

    private func permissions(_ mode: UInt32) -> mode_t { group == nil ? mode : mode | 0o440 }

    private func makeVersion() throws(FileError) -> String {
        var moment = Timestamp.now
        while true {
            let name = ".." + moment.nano.map { $0 == "-" || $0 == ":" || $0 == "T" ? "_" : $0 }.dropLast()
            let path = "\(directory)/\(name)"
            if mkdir(path, 0o755) == 0 { return name }
            guard errno == EEXIST else { throw FileError(call: "mkdir", path: path, code: errno) }
            moment = Timestamp(seconds: moment.seconds, nanoseconds: moment.nanoseconds &+ 1)
        }
    }

    private func isCurrent(_ files: [ProjectedFile], in version: String) -> Bool {
        var found: [String] = []
        func walk(_ prefix: String) {
            for name in NodeFiles.list(prefix.isEmpty ? version : "\(version)/\(prefix)") {
                let path = prefix.isEmpty ? name : "\(prefix)/\(name)"
                if NodeFiles.kind("\(version)/\(path)", followLinks: false) == .directory {
                    walk(path)
                } else {
                    found.append(path)
                }
            }
        }
        walk("")
        guard found.sorted() == files.map(\.path).sorted() else { return false }
        return files.allSatisfy { file in
            var info = stat()
            guard stat("\(version)/\(file.path)", &info) == 0 else { return false }
            return info.st_mode & 0o7777 == permissions(file.mode)
                && NodeFiles.read("\(version)/\(file.path)") == file.content
        }
    }

    /// Makes the links that containers see, and removes those to files that are gone.
    private func link(_ files: [ProjectedFile]) throws(FileError) {
        let wanted = Set(files.compactMap { $0.path.split(separator: "/").first.map(String.init) })
        for name in wanted {
            let path = "\(directory)/\(name)"
            if NodeFiles.link(path) == "..data/\(name)" { continue }
            unlink(path)
            try NodeFiles.check(symlink("..data/\(name)", path), "symlink", path)
        }
        for name in NodeFiles.list(directory) where !name.hasPrefix("..") && !wanted.contains(name) {
            if NodeFiles.link("\(directory)/\(name)") == "..data/\(name)" { unlink("\(directory)/\(name)") }
        }
    }
}
