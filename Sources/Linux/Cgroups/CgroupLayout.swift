// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Where this machine keeps its control groups. A group is named by one path, that is meant below the root of every
/// hierarchy: `/catbird/lab/lab-m02`.
public struct CgroupLayout: Sendable, Hashable {
    public enum Mode: String, Sendable, Hashable {
        /// Controllers in hierarchies of their own.
        case v1
        /// As v1, and a unified hierarchy without controllers beside.
        case hybrid
        /// One unified hierarchy.
        case v2
    }

    /// One mounted hierarchy.
    public struct Hierarchy: Sendable, Hashable {
        public let mountPoint: String
        /// `cpu`, `memory`, ...; `name=systemd` for one without controllers. Of v2 what its root offers.
        public let controllers: [String]
        public let isUnified: Bool

        public init(mountPoint: String, controllers: [String], isUnified: Bool) {
            self.mountPoint = mountPoint
            self.controllers = controllers
            self.isUnified = isUnified
        }

        /// The folder of a group.
        public func path(of group: String) -> String {
            let name = group.hasPrefix("/") ? String(group.dropFirst()) : group
            return name.isEmpty ? mountPoint : "\(mountPoint)/\(name)"
        }
    }

    public let mode: Mode
    public let hierarchies: [Hierarchy]

    public init(hierarchies: [Hierarchy]) {
        self.hierarchies = hierarchies
        let unified = hierarchies.contains(where: \.isUnified)
        let legacy = hierarchies.contains { !$0.isUnified }
        mode = legacy ? (unified ? .hybrid : .v1) : .v2
    }

    /// Reads what is mounted in this process's mount namespace.
    public static func detect() throws(Errno) -> CgroupLayout {
        let layout = CgroupLayout(mounts: try Mounts.list()) { mountPoint in
            ((try? Files.text("\(mountPoint)/cgroup.controllers")) ?? "").split(whereSeparator: \.isWhitespace)
                .map(String.init)
        }
        guard !layout.hierarchies.isEmpty else {
            throw Errno(
                code: ENODEV, call: "cgroup",
                detail: "no cgroup file system is mounted (mount -t cgroup2 none /sys/fs/cgroup)")
        }
        return layout
    }

    package init(mounts: [MountInfo], unifiedControllers: (_ mountPoint: String) -> [String]) {
        var hierarchies: [Hierarchy] = []
        for mount in mounts where mount.type == "cgroup" || mount.type == "cgroup2" {
            let unified = mount.type == "cgroup2"
            let known = Self.controllers
            let names =
                unified
                ? unifiedControllers(mount.target)
                : mount.superOptions.filter { known.contains($0) || $0.hasPrefix("name=") }
            // The same hierarchy may be mounted twice, or on top of another.
            if hierarchies.contains(where: { $0.mountPoint == mount.target }) { continue }
            if !unified, names.isEmpty || hierarchies.contains(where: { !$0.isUnified && $0.controllers == names }) {
                continue
            }
            if unified, hierarchies.contains(where: \.isUnified) { continue }
            hierarchies.append(Hierarchy(mountPoint: mount.target, controllers: names, isUnified: unified))
        }
        self.init(hierarchies: hierarchies)
    }

    static let controllers: Set<String> = [
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
        "perf_event", "hugetlb", "rdma", "misc",
    ]

    /// The hierarchy that has a controller.
    public func hierarchy(of controller: String) -> Hierarchy? {
        hierarchies.first { $0.controllers.contains(controller) }
    }

    /// The folder of a group in the hierarchy of a controller.
    public func path(of group: String, controller: String) -> String? {
        hierarchy(of: controller)?.path(of: group)
    }

    /// Makes a group and those above it in every hierarchy. An existing one stays as it is.
    public func create(_ group: String) throws(Errno) {
        // One above may be removed by somebody who found it empty, before there is one in it; not again and again.
        for _ in 0..<16 {
            do throws(Errno) { return try createOnce(group) } catch  where error.code == ENOENT { continue }
        }
        try createOnce(group)
    }

    private func createOnce(_ group: String) throws(Errno) {
        let parts = group.split(separator: "/")
        for hierarchy in hierarchies {
            var folder = hierarchy.mountPoint
            for part in parts {
                if hierarchy.isUnified { enableControllers(hierarchy, in: folder) }
                let parent = folder
                folder += "/\(part)"
                if mkdir(folder, 0o755) == 0 {
                    if hierarchy.controllers.contains("cpuset"), !hierarchy.isUnified {
                        // A new cpuset is empty, and takes no process until it has some of its parent's.
                        for file in ["cpuset.cpus", "cpuset.mems"] {
                            let value = try Files.text("\(parent)/\(file)")
                            try Files.write("\(folder)/\(file)", String(value.prefix { !$0.isNewline }))
                        }
                    }
                } else if errno != EEXIST {
                    throw Errno("mkdir", folder)
                }
            }
        }
    }

    /// One by one: one that this folder cannot have must not keep the others away.
    private func enableControllers(_ hierarchy: Hierarchy, in folder: String) {
        for controller in hierarchy.controllers {
            try? Files.write("\(folder)/cgroup.subtree_control", "+\(controller)")
        }
    }

    public func exists(_ group: String) -> Bool {
        hierarchies.contains { Files.exists($0.path(of: group)) }
    }

    /// Moves a process, with all its threads, into a group in every hierarchy.
    public func attach(_ pid: Int32, to group: String) throws(Errno) {
        for hierarchy in hierarchies {
            try Files.write("\(hierarchy.path(of: group))/cgroup.procs", "\(pid)")
        }
    }

    /// The groups below, with the group itself, the deepest first, in one hierarchy.
    func tree(_ group: String, in hierarchy: Hierarchy) -> [String] {
        var result: [String] = []
        func visit(_ folder: String) {
            guard let entries = try? Files.list(folder) else { return }
            for entry in entries where entry.kind == .directory { visit("\(folder)/\(entry.name)") }
            result.append(folder)
        }
        visit(hierarchy.path(of: group))
        return result
    }

    /// The names of the groups in a group, of all hierarchies.
    public func groups(in group: String) -> Set<String> {
        var result: Set<String> = []
        for hierarchy in hierarchies {
            for entry in (try? Files.list(hierarchy.path(of: group))) ?? [] where entry.kind == .directory {
                result.insert(entry.name)
            }
        }
        return result
    }

    /// The processes in a group and those below it, in any hierarchy.
    public func processes(in group: String, recursive: Bool = true) -> Set<Int32> {
        var result: Set<Int32> = []
        for hierarchy in hierarchies {
            let folders = recursive ? tree(group, in: hierarchy) : [hierarchy.path(of: group)]
            for folder in folders {
                // A group that is being removed has nothing to tell.
                guard let text = try? Files.text("\(folder)/cgroup.procs") else { continue }
                for line in text.split(separator: "\n") { if let pid = Int32(line), pid > 0 { result.insert(pid) } }
            }
        }
        return result
    }
}
