// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// Why a process could not be started, and at which step.
public struct SpawnError: Error, Sendable, CustomStringConvertible {
    public enum Stage: Int32, Sendable {
        case clone, cgroup, session, namespace, root, directory, descriptors, terminal, ids, exec
    }

    public let path: String
    public let stage: Stage
    public let errno: Errno

    public var description: String {
        stage == .exec
            ? "cannot run \(path): \(Errno.text(errno.code))"
            : "cannot start \(path): \(stage) step: \(Errno.text(errno.code))"
    }
}

/// Describes a process and starts it. The child has the descriptors listed here and no others, default signal handling
/// and no blocked signals.
public struct ProcessSpawner: Sendable {
    /// Without a slash it is searched in PATH of `environment`, as the child sees it.
    public var path: String
    /// What follows argv[0].
    public var arguments: [String]
    /// argv[0]; the path when nil.
    public var name: String?
    /// `NAME=value`.
    public var environment: [String: String]
    public var directory: String?
    /// A folder to chroot into, after the namespaces were entered.
    public var root: String?
    /// The child's descriptor (key) and the descriptor of this process it is made from. 0, 1 and 2 are /dev/null when
    /// absent. They stay owned by the caller.
    public var descriptors: [Int32: Int32]
    /// Entered before exec, so `path` is a path inside the mount namespace.
    public var namespaces: Namespaces.Target
    /// Paths of groups below the roots of all hierarchies (as ``CgroupLayout/attach``), joined before exec.
    public var cgroup: String?
    /// The layout `cgroup` is meant in.
    public var cgroupLayout: CgroupLayout?
    /// Further cgroup.procs files.
    public var cgroupFiles: [String]
    public var newSession: Bool
    public var newProcessGroup: Bool
    /// A descriptor of the child that becomes its controlling terminal; needs `newSession`.
    public var controllingTerminal: Int32?
    /// Sent to the child when this process dies.
    public var parentDeathSignal: Int32?
    public var user: (uid: UInt32, gid: UInt32, groups: [UInt32])?
    public var umask: UInt32?
    public var oomScoreAdjust: Int?
    /// The process is the first of a process namespace of its own: when it ends, all that are in it do.
    public var newProcessNamespace = false

    public init(
        _ path: String, _ arguments: [String] = [], environment: [String: String] = ProcessSpawner.ownEnvironment
    ) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
        descriptors = [:]
        namespaces = Namespaces.Target()
        cgroupFiles = []
        newSession = false
        newProcessGroup = false
    }

    /// This process's environment, as it was when first asked for.
    public static let ownEnvironment: [String: String] = {
        guard let bytes = try? Files.read("/proc/self/environ") else { return [:] }
        var result: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            let text = String(decoding: entry, as: UTF8.self)
            guard let equals = text.firstIndex(of: "=") else { continue }
            result[String(text[..<equals])] = String(text[text.index(after: equals)...])
        }
        return result
    }()

    public func spawn() throws -> ChildProcess {
        if parentDeathSignal == nil { return try start() }
        // The kernel means the thread, not the process: it must be one that never ends.
        let events = try FileEvents.shared()
        let answer = BlockingAnswer<Result<ChildProcess, any Error>>()
        events.perform { answer.put(Result { try start() }) }
        return try answer.take().get()
    }

    private func start() throws -> ChildProcess {
        var fds: [Int32] = []  // owned, closed at the end
        defer { for fd in fds { close(fd) } }
        func owned(_ descriptor: consuming FileDescriptor) -> Int32 {
            let fd = descriptor.take()
            fds.append(fd)
            return fd
        }

        var mappings = descriptors
        if !(0...2).allSatisfy({ mappings[$0] != nil }) {
            let null = owned(try FileDescriptor.open("/dev/null", O_RDWR))
            for target: Int32 in 0...2 where mappings[target] == nil { mappings[target] = null }
        }
        var namespaceList: [catbird_namespace] = []
        for (kind, ref) in namespaces.ordered {
            namespaceList.append(catbird_namespace(fd: owned(try ref.open(kind)), kind: kind.flag))
        }
        let processNamespace = try namespaces.pid.map { owned(try $0.open(.pid)) }
        var groupFiles = cgroupFiles
        if let cgroup {
            let layout = try cgroupLayout ?? CgroupLayout.detect()
            groupFiles += layout.hierarchies.map { $0.path(of: cgroup) + "/cgroup.procs" }
        }
        let cgroups = try groupFiles.map { owned(try FileDescriptor.open($0, O_WRONLY)) }
        let mappingList = mappings.sorted { $0.key < $1.key }
            .map { catbird_fd_mapping(source: $0.value, target: $0.key) }
        let groups = user?.groups ?? []

        let argumentList = CStringList([name ?? path] + arguments)
        let environmentList = CStringList(environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
        let texts = CStringList([path, root ?? "", directory ?? ""])
        var stage: Int32 = 0
        let process: ChildProcess
        do throws(Errno) {
            process = try ProcessTable.shared.watching { () throws(Errno) -> ChildProcess in
                var pid: Int32 = 0
                var pidfd: Int32 = -1
                let code = mappingList.withUnsafeBufferPointer { mappingList in
                    namespaceList.withUnsafeBufferPointer { namespaceList in
                        cgroups.withUnsafeBufferPointer { cgroups in
                            groups.withUnsafeBufferPointer { groups in
                                var spawn = catbird_spawn()
                                spawn.path = UnsafePointer(texts.pointers[0])
                                spawn.arguments = argumentList.constPointers
                                spawn.environment = environmentList.constPointers
                                spawn.root = root == nil ? nil : UnsafePointer(texts.pointers[1])
                                spawn.directory = directory == nil ? nil : UnsafePointer(texts.pointers[2])
                                spawn.mappings = mappingList.baseAddress
                                spawn.mapping_count = mappingList.count
                                spawn.namespaces = namespaceList.baseAddress
                                spawn.namespace_count = namespaceList.count
                                spawn.cgroups = cgroups.baseAddress
                                spawn.cgroup_count = cgroups.count
                                spawn.new_session = newSession ? 1 : 0
                                spawn.new_process_group = newProcessGroup ? 1 : 0
                                spawn.new_pid_namespace = newProcessNamespace ? 1 : 0
                                spawn.pid_namespace = processNamespace ?? -1
                                spawn.controlling_terminal = controllingTerminal ?? -1
                                spawn.parent_death_signal = parentDeathSignal ?? 0
                                if let user {
                                    spawn.set_ids = 1
                                    spawn.uid = user.uid
                                    spawn.gid = user.gid
                                    spawn.groups = groups.baseAddress
                                    spawn.group_count = groups.count
                                }
                                spawn.umask = umask.map { Int32($0) } ?? -1
                                spawn.oom_score_adj = oomScoreAdjust.map { Int32(clamping: $0) } ?? Int32.min
                                return catbird_spawn(&spawn, &pid, &pidfd, &stage)
                            }
                        }
                    }
                }
                guard code == 0 else { throw Errno(code: code, call: "spawn", detail: path) }
                return ChildProcess(pid: pid, owning: pidfd)
            }
        } catch {
            throw SpawnError(path: path, stage: SpawnError.Stage(rawValue: stage) ?? .clone, errno: error)
        }
        return process
    }

    /// Starts it, waits, and returns what it wrote. For helpers whose output is small; it is cut at `limit` bytes.
    public func run(input: [UInt8] = [], limit: Int = 16 << 20) async throws -> ProcessOutput {
        try await OutputCollector.run(self, input: input, limit: limit)
    }
}

/// NULL-terminated C strings that live as long as this does.
private final class CStringList {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { (pointers + index).initialize(to: strdup(string)) }
        (pointers + count).initialize(to: nil)
    }

    var constPointers: UnsafePointer<UnsafeMutablePointer<CChar>?> { UnsafePointer(pointers) }

    deinit {
        for index in 0..<count { free(pointers[index]) }
        pointers.deallocate()
    }
}

/// Hands one value from one thread to another that blocks for it.
final class BlockingAnswer<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let event: Int32 = eventfd(0, Int32(EFD_CLOEXEC))

    deinit { close(event) }

    func put(_ value: Value) {
        self.value.withLock { $0 = value }
        var one: UInt64 = 1
        _ = write(event, &one, 8)
    }

    func take() throws(Errno) -> Value {
        var count: UInt64 = 0
        while read(event, &count, 8) < 0, errno == EINTR {}
        guard let result = value.withLock({ $0 }) else { throw Errno("eventfd") }
        return result
    }
}
