// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// A part of a volume that a container gets instead of the whole.
///
/// Whoever may write into the volume may put links there, and change them at any moment. So the part is found by the
/// kernel, which stays below the volume, and mounted by descriptor at a place that no container reaches; containers get
/// that place, and no name within the volume is used again.
struct SubPath {
    let path: String
    let volume: String

    init(_ path: String, volume: String) throws(ContainerConfigError) {
        guard !path.hasPrefix("/"),
            !path.utf8.split(separator: UInt8(ascii: "/")).contains(where: { $0.elementsEqual("..".utf8) })
        else { throw ContainerConfigError("subPath \"\(path)\" must be relative and must not contain \"..\"") }
        self.path = path
        self.volume = volume
    }

    /// Makes the part where it is missing, as a folder, and mounts it. What was mounted there before goes.
    ///
    /// - Parameter isShared: what is mounted in it by the container is to be seen on the node too.
    func mount(onto target: String, isShared: Bool = false) throws(ContainerConfigError) {
        do throws(Errno) {
            let part = try open()
            var info = stat()
            guard fstat(part.rawValue, &info) == 0 else { throw Errno("fstat", path) }
            try MountPoint(target).bind(part, isShared: isShared)
        } catch {
            switch error.code {
            case EXDEV, ELOOP:
                throw ContainerConfigError(
                    "subPath \"\(path)\" leads out of its volume, or through a link that leads nowhere; name the place "
                        + "itself")
            default: throw ContainerConfigError("failed to prepare subPath \"\(path)\": \(error)")
            }
        }
    }

    private func open() throws(Errno) -> FileDescriptor {
        let root = try FileDescriptor.open(volume, O_RDONLY | O_DIRECTORY)
        do throws(Errno) {
            // Links within the volume are the volume's own affair: files of ConfigMaps are links.
            return try Files.place(path, beneath: root, links: .withinFolder)
        } catch  where error.code == ENOENT {
            var info = stat()
            guard fstat(root.rawValue, &info) == 0 else { throw Errno("fstat", volume) }
            // As open to others as the volume is.
            return try Files.makeDirectories(path, beneath: root, mode: UInt32(info.st_mode & 0o7777))
        }
    }
}
