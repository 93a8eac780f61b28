// SPDX-License-Identifier: Apache-2.0

import KubeClientTesting
import Foundation
import Glibc
import IPAM
import KubeObjects
import Linux
import Logging
import NetworkModel
import Testing
import Values

/// Real processes that add and delete over one folder of files and are ended by SIGKILL, whatever they are doing.
///
/// The processes are this test program itself, told by its environment to run the worker alone.
@Suite struct KilledProcessTests {
    private static let environment = ProcessInfo.processInfo.environment
    static let folder = environment["CATBIRD_WORKER_FOLDER"]
    private static let kills = environment["CATBIRD_STEPS"].flatMap { Int($0) }.map { $0 / 500 } ?? 12
    /// Where the worker tells what it does; standard output is the test library's.
    private static let report: Int32 = 3

    private static func book(_ store: FileStore, now: @escaping @Sendable () -> Timestamp = { .now }) -> AddressBook {
        var logger = Logger(label: "killed")
        logger.logLevel = .critical
        return AddressBook(store: store, node: "here", logger: logger, now: now)
    }

    private static func store(_ folder: String) -> FileStore {
        FileStore(
            folder,
            given: IPAMObjects(
                pools: [Sample.pool("local", "10.9.0.0/26", blockSize: 29)], nodes: [Sample.node("here")]))
    }

    private static func request(_ handle: String) -> AddressRequest {
        AddressRequest(
            node: "here", use: .workload, handleID: handle,
            values: ["node": "here", "pod": handle, "namespace": "default"], subject: handle)
    }

    // MARK: The worker

    @Test(.enabled(if: folder != nil, "runs in processes that the other test starts")) func worker() async throws {
        let folder = try #require(Self.folder)
        let name = try #require(Self.environment["CATBIRD_WORKER_NAME"])
        var random = SplitMix(UInt64(getpid()))
        var held: [String] = []
        func say(_ text: String) { _ = text.withCString { write(Self.report, $0, strlen($0)) } }
        for number in 0... {
            let book = Self.book(Self.store(folder))
            if !held.isEmpty, held.count > 10 || random.next() % 2 == 0 {
                let handle = held.remove(at: Int(random.next() % UInt64(held.count)))
                say("d \(handle)\n")
                try await book.release(handleIDs: [handle])
                say("D \(handle)\n")
            } else {
                let handle = "net.\(name)-\(number)"
                say("a \(handle)\n")
                let address = try await book.assign(Self.request(handle)).address
                say("A \(handle) \(address)\n")
                held.append(handle)
            }
        }
    }

    // MARK: Who kills

    @Test(.enabled(if: folder == nil, "this is a worker")) func killedProcessesLoseNothing() async throws {
        let folder = "/tmp/catbird-killed-\(getpid())"
        defer { try? Files.removeTree(folder) }
        var random = SplitMix(Self.environment["CATBIRD_SEED"].flatMap { UInt64($0) } ?? 1)
        let truth = Truth()
        var killed = 0
        var lines = 0
        while killed < Self.kills {
            let quotas = [1 + Int(random.next() % 40), 1 + Int(random.next() % 40)]
            let told = try await Self.round(folder, quotas, "\(killed)")
            killed += quotas.count
            lines += told.count
            Self.take(told, truth)
            let violations = try await Self.putInOrder(folder, truth)
            try #require(violations.isEmpty, "after \(killed) kills: \(violations)")
        }
        print("\(killed) processes killed in the middle of \(lines / 2) ADDs and DELs over one folder")
    }

    /// Runs a worker for each quota, kills each when that many lines have come from all of them, and returns the lines.
    private static func round(_ folder: String, _ quotas: [Int], _ name: String) async throws -> [String] {
        // One pipe for all, so that the lines come in the order in which things happened.
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Errno("pipe", "workers") }
        let reader = ends[0]
        defer { close(reader) }
        var processes: [ChildProcess] = []
        do {
            defer { close(ends[1]) }
            for index in quotas.indices {
                var spawner = ProcessSpawner(
                    "/proc/self/exe", ["--testing-library", "swift-testing", "--filter", "KilledProcessTests.worker"])
                spawner.environment["CATBIRD_WORKER_FOLDER"] = folder
                spawner.environment["CATBIRD_WORKER_NAME"] = "\(name)-\(index)"
                spawner.descriptors = [report: ends[1]]
                spawner.parentDeathSignal = SIGKILL
                processes.append(try spawner.spawn())
            }
        }
        let workers = processes
        return try await OwnThread.run(awaiting: {
            var text: [UInt8] = []
            while true {
                let part = try FileDescriptor.read(reader, upTo: 4096)
                if part.isEmpty { break }
                text += part
                let count = text.count { $0 == UInt8(ascii: "\n") }
                for (process, quota) in zip(workers, quotas) where count >= quota { _ = kill(process.pid, SIGKILL) }
            }
            return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        })
    }

    private static func take(_ lines: [String], _ truth: Truth) {
        for line in lines {
            let parts = line.split(separator: " ").map(String.init)
            guard parts.count >= 2 else { continue }
            switch parts[0] {
            case "a": truth.withLock { $0.sandboxes[parts[1]] = .init(handleID: parts[1], node: "here") }
            case "A": truth.answered(parts[1], parts.dropFirst(2).compactMap { IPAddress($0) })
            case "d": truth.set(parts[1], .deleting)
            default: truth.set(parts[1], nil)
            }
        }
    }

    /// What a kubelet and the collector do afterwards; returns what is then not as it should be.
    private static func putInOrder(_ folder: String, _ truth: Truth) async throws -> [String] {
        let store = store(folder)
        let book = book(store, now: { truth.withLock { $0.now } })
        truth.withLock { $0.nodes = ["here"] }
        for sandbox in truth.withLock({ Array($0.sandboxes.values) }).sorted(by: { $0.handleID < $1.handleID }) {
            switch sandbox.phase {
            case .adding, .live:
                truth.answered(
                    sandbox.handleID, try await book.assign(request(sandbox.handleID)).addresses.map(\.address))
            case .deleting:
                try await book.release(handleIDs: [sandbox.handleID])
                truth.set(sandbox.handleID, nil)
            }
        }
        let seen = Seen()
        for _ in 0..<6 {
            truth.withLock { $0.now = Timestamp(seconds: $0.now.seconds + 100) }
            try await book.tidy()
            let snapshot = await book.snapshot()
            let world = IPAMWorld(
                snapshot: snapshot, handles: store.handles.map { IPAMHandle($0) }, pods: truth.pods)
            let outcome = AddressCollection.decide(world, now: truth.withLock { $0.now }, grace: 60, seen: seen.value)
            seen.value = outcome.seen
            _ = try await book.collect(
                outcome, decidedFrom: snapshot,
                isStillTrue: { release in truth.withLock { $0.sandboxes[release.handleID] == nil } },
                nodeExists: { _ in true })
            for finding in seen.mend(world, truth.withLock { $0.now }) { _ = try await book.repair(finding.repair) }
        }
        // Half of what there is goes, so that the folder neither fills nor empties.
        for sandbox in truth.withLock({ Array($0.sandboxes.values) }).sorted(by: { $0.handleID < $1.handleID })
            .dropFirst(8)
        {
            try await book.release(handleIDs: [sandbox.handleID])
            truth.set(sandbox.handleID, nil)
        }
        let objects = store.objects
        let sandboxes = truth.withLock { Array($0.sandboxes.values) }
        return truth.withLock { $0.violations }
            + Invariants.violations(
                blocks: objects.blocks, claims: objects.affinities, handles: store.handles, sandboxes)
    }
}
