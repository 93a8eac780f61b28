// SPDX-License-Identifier: Apache-2.0

import Linux

/// Where things of a sandbox and of a container are. Ids are cut in paths: a socket's path has at most 107 bytes.
struct RuntimePaths: Sendable {
    let state: String
    let persistent: String

    init(_ configuration: RuntimeConfiguration) {
        state = configuration.stateDirectory
        persistent = configuration.persistentDirectory
    }

    var crunRoot: String { state + "/crun" }
    var exits: String { persistent + "/exits" }
    var sandboxRecords: String { persistent + "/sandboxes" }
    var containers: String { persistent + "/containers" }
    var bundles: String { state + "/c" }

    func sandboxRecord(_ id: String) -> String { "\(sandboxRecords)/\(id).json" }
    /// Pinned namespaces and shared memory.
    func sandbox(_ id: String) -> String { "\(state)/sandboxes/\(id)" }
    func namespace(_ id: String, _ kind: NamespaceKind) -> String { "\(sandbox(id))/\(kind.rawValue)" }
    func shm(_ id: String) -> String { "\(sandbox(id))/shm" }

    func container(_ id: ContainerID) -> String { "\(containers)/\(id.prefix(32))" }
    func record(_ id: ContainerID) -> String { container(id) + "/container.json" }
    func upper(_ id: ContainerID) -> String { container(id) + "/upper" }
    func bundle(_ id: ContainerID) -> String { "\(bundles)/\(id.prefix(32))" }
    func rootfs(_ id: ContainerID) -> String { bundle(id) + "/rootfs" }
    func exit(_ id: ContainerID) -> String { "\(exits)/\(id)" }

    func prepare() throws(Errno) {
        for folder in [crunRoot, bundles, state + "/sandboxes", exits, sandboxRecords, containers] {
            try Files.makeDirectories(folder, mode: 0o700)
        }
    }
}
