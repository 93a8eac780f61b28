// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Values

/// Devices in the terms of the OCI specification.
enum DeviceNodes {
    struct Node { var type: String; var major: Int; var minor: Int; var mode: Int; var uid: Int; var gid: Int }

    static func node(_ path: String) -> Node? {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        let type: String
        switch info.st_mode & 0o170000 {
        case UInt32(CATBIRD_CHARACTER_DEVICE): type = "c"
        case UInt32(CATBIRD_BLOCK_DEVICE): type = "b"
        default: return nil
        }
        return Node(
            type: type, major: Int(catbird_major(info.st_rdev)), minor: Int(catbird_minor(info.st_rdev)),
            mode: Int(info.st_mode & 0o7777), uid: Int(info.st_uid), gid: Int(info.st_gid))
    }

    static func json(_ node: Node, at path: String) -> JSON {
        [
            "path": JSON(path), "type": JSON(node.type), "major": JSON(node.major), "minor": JSON(node.minor),
            "fileMode": JSON(node.mode), "uid": JSON(node.uid), "gid": JSON(node.gid),
        ]
    }

    static func rule(_ type: String, _ major: Int?, _ minor: Int?, _ access: String) -> JSON {
        var json: JSON = ["allow": true, "type": JSON(type), "access": JSON(access)]
        if let major { json["major"] = JSON(major) }
        if let minor { json["minor"] = JSON(minor) }
        return json
    }

    /// null, zero, full, random, urandom, tty, console, the pseudo terminals; making nodes of any kind is harmless.
    static let standardRules: [JSON] = [
        ["allow": false, "access": "rwm"],
        rule("c", nil, nil, "m"), rule("b", nil, nil, "m"),
        rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"), rule("c", 1, 8, "rwm"),
        rule("c", 1, 9, "rwm"), rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"),
        rule("c", 136, nil, "rwm"),
    ]

    /// The machine's devices, for privileged containers: all of /dev but terminals and what a container has of its own.
    static func all(below folder: String = "/dev") -> [(path: String, node: Node)] {
        var result: [(String, Node)] = []
        let own: Set<String> = [
            "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx", "null", "zero", "full",
            "tty", "random", "urandom",
        ]
        for entry in (try? Files.list(folder)) ?? [] {
            if folder == "/dev", own.contains(entry.name) { continue }
            let path = "\(folder)/\(entry.name)"
            switch entry.kind {
            case .directory: result += all(below: path)
            case .characterDevice, .blockDevice: if let node = node(path) { result.append((path, node)) }
            default: break
            }
        }
        return result
    }
}
