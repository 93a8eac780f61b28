// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging

/// How to start one of the cluster's processes, and where it leaves its traces.
struct SupervisedProcess: Sendable {
    let name: String
    /// Path as seen inside `namespaces`.
    let executable: String
    let arguments: [String]
    /// Whole: nothing of the starter's comes besides.
    var environment = Surroundings.environment()
    var namespaces = Namespaces.Target()
    var cgroup: String?
    /// Whether the process is given the machine's network, that its own is not, as a descriptor.
    var knowsHostNetwork = false
    let paths: ProfilePaths
    /// It writes its number down itself: of several that are started at once only one may stay.
    var recordsItself = false

    private static let hostNetworkDescriptor: Int32 = 3
    private static let hostNetworkVariable = "CATBIRD_HOST_NETWORK"

    /// The machine's network, in a process that was given it.
    static var hostNetwork: NamespaceRef? {
        HostEnvironment.value(hostNetworkVariable).map { .path("/proc/self/fd/\($0)") }
    }

    /// The running process: the one that an earlier supervisor left, or a new one.
    func adoptOrStart() throws -> (process: ChildProcess, isNew: Bool) {
        if let record = ProcessRecord.running(at: paths.pidFile(name)), let child = try? ChildProcess.adopt(record.pid)
        {
            return (child, false)
        }
        return (try start(), true)
    }

    private func start() throws -> ChildProcess {
        let log = try FileDescriptor.open(paths.log(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode: 0o600)
        let null = try FileDescriptor.open("/dev/null", O_RDWR | O_CLOEXEC)
        var spawner = ProcessSpawner(executable, arguments, environment: environment)
        spawner.name = "catbird"
        spawner.directory = "/"
        spawner.umask = 0o022
        spawner.descriptors = [0: null.rawValue, 1: log.rawValue, 2: log.rawValue]
        let network = try FileDescriptor.open("/proc/self/ns/net")
        if knowsHostNetwork {
            spawner.descriptors[Self.hostNetworkDescriptor] = network.rawValue
            spawner.environment[Self.hostNetworkVariable] = "\(Self.hostNetworkDescriptor)"
        }
        spawner.namespaces = namespaces
        spawner.cgroup = cgroup
        spawner.newSession = true
        let child = try spawner.spawn()
        if !recordsItself { try ProcessRecord(pid: child.pid)?.write(to: paths.pidFile(name)) }
        return child
    }

    /// Ends the process left at the profile's pid file: politely, then by force when `grace` is over.
    ///
    /// - Throws: `ProcessWillNotEnd` when that did not do it either.
    static func end(_ name: String, paths: ProfilePaths, grace: Duration) async throws {
        let file = paths.pidFile(name)
        guard let record = ProcessRecord.running(at: file), let child = try? ChildProcess.adopt(record.pid) else {
            unlink(file)
            return
        }
        try await child.end(grace: grace)
        unlink(file)
    }
}
