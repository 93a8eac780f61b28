// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Logging
import Values

/// Keeps the logs of running containers within five files of 10 MiB.
struct LogRotator: Sendable {
    static let maximumSize = 10 << 20
    static let maximumFiles = 5

    let runtime: any PodRuntime
    let log: Logger

    func run() async {
        // A log that grows makes no event but one for each write; its size is looked at every ten seconds instead.
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(10))
            for container in runtime.containers() where container.state == .running {
                guard let path = container.logPath else { continue }
                var info = stat()
                guard lstat(path, &info) == 0, info.st_size > Self.maximumSize else { continue }
                do { try await rotate(path, container.id) } catch {
                    log.warning("cannot rotate the log \(path): \(error)")
                }
            }
        }
    }

    private func rotate(_ path: String, _ id: ContainerID) async throws {
        let (descriptor, name) = try ContainerLogs.folder(of: path)
        defer { close(descriptor) }
        let old = ContainerLogs.rotated(path)
        for extra in old.prefix(max(0, old.count - (Self.maximumFiles - 2))) {
            let extraName = extra.split(separator: "/").last.map(String.init) ?? extra
            try Files.removeTree(FileName(extraName), in: descriptor, at: extra)
        }
        let time = Timestamp.now.description.filter { $0 != "-" && $0 != ":" && $0 != "Z" }
        try NodeFiles.check(renameat(descriptor, name, descriptor, "\(name).\(time)"), "rename", path)
        try await runtime.reopenLog(id)
    }
}
