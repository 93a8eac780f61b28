// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// Finds a user's and its groups' numbers in an image's own /etc/passwd and /etc/group.
package struct UserDatabase: Sendable {
    struct User: Sendable { var name: String; var uid: Int; var gid: Int; var home: String }
    struct Group: Sendable { var name: String; var gid: Int; var members: [String] }

    var users: [User] = []
    var groups: [Group] = []

    package init(passwd: String, group: String) {
        for line in passwd.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard fields.count >= 4, let uid = Int(fields[2]), let gid = Int(fields[3]) else { continue }
            users.append(User(name: fields[0], uid: uid, gid: gid, home: fields.count > 5 ? fields[5] : ""))
        }
        for line in group.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard fields.count >= 3, let gid = Int(fields[2]) else { continue }
            groups.append(
                Group(
                    name: fields[0], gid: gid,
                    members: fields.count > 3 ? fields[3].split(separator: ",").map(String.init) : []))
        }
    }

    /// Reads them below a root file system, following links within it only.
    init(rootfs: String) {
        func text(_ name: String) -> String {
            // An image need not have them, and what is no file counts as none.
            guard let root = try? FileDescriptor.open(rootfs, O_RDONLY | O_DIRECTORY),
                let file = try? Files.open(name, beneath: root, O_RDONLY | O_NONBLOCK, links: .asInRoot),
                let bytes = try? file.readToEnd(limit: 4 << 20)
            else { return "" }
            return String(decoding: bytes, as: UTF8.self)
        }
        self.init(passwd: text("etc/passwd"), group: text("etc/group"))
    }

    /// By containerd's rules: the pod's numbers win over the image's `user[:group]`; a number need not be in the files;
    /// groups that list the user are added.
    package func identity(image user: String, security: ContainerSecurity) throws(RuntimeError) -> (
        identity: UserIdentity, home: String
    ) {
        var uid = 0
        var gid = 0
        var name: String?
        var home = ""
        func take(_ user: User) {
            uid = user.uid
            gid = user.gid
            name = user.name
            home = user.home
        }
        if let wanted = security.runAsUser {
            guard (0...Int(Int32.max)).contains(wanted) else {
                throw RuntimeError(.invalid, "securityContext.runAsUser \(wanted) is not a user's number")
            }
            uid = wanted
            if let known = users.first(where: { $0.uid == wanted }) { take(known) }
        } else if !user.isEmpty {
            let parts = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if let number = Int(parts[0]), (0...Int(Int32.max)).contains(number) {
                uid = number
                if let known = users.first(where: { $0.uid == number }) { take(known) }
            } else if let known = users.first(where: { $0.name == parts[0] }) {
                take(known)
            } else if !parts[0].isEmpty {
                throw RuntimeError(
                    .invalid,
                    "the image's user \"\(parts[0])\" is not in its /etc/passwd; set securityContext.runAsUser to a number"
                )
            }
            if parts.count == 2, !parts[1].isEmpty {
                if let number = Int(parts[1]), (0...Int(Int32.max)).contains(number) {
                    gid = number
                } else if let group = groups.first(where: { $0.name == parts[1] }) {
                    gid = group.gid
                } else {
                    throw RuntimeError(.invalid, "the image's group \"\(parts[1])\" is not in its /etc/group")
                }
            }
        } else if let root = users.first(where: { $0.uid == 0 }) {
            take(root)
        }
        if let group = security.runAsGroup { gid = group }
        if security.runAsNonRoot, uid == 0 {
            throw RuntimeError(
                .invalid,
                "container has runAsNonRoot and image will run as root: set securityContext.runAsUser, or take an image with another user"
            )
        }
        // The group itself among them, as containerd has it: a process that gives it up cannot take it back otherwise.
        var supplemental = [gid]
        supplemental += groups.filter { group in name.map { group.members.contains($0) } ?? false }.map(\.gid)
        supplemental += security.supplementalGroups
        if let group = security.fsGroup { supplemental.append(group) }
        var seen: Set<Int> = []
        supplemental = supplemental.filter { seen.insert($0).inserted }
        return (UserIdentity(uid: uid, gid: gid, supplementalGroups: supplemental), home)
    }
}
