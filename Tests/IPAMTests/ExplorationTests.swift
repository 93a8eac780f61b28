// SPDX-License-Identifier: Apache-2.0

import Foundation
import IPAM
import Testing

/// Every order of the requests of a few processes, within bounds, each judged by ``Invariants``: what Calico's
/// ipam_block_reader_writer_test provokes with many goroutines, here one by one.
///
/// `CATBIRD_PREEMPTIONS`, `CATBIRD_FAULTS` (default 1) and `CATBIRD_RUNS` (an exploration; default all) go deeper:
/// with 1 and 1 it takes three minutes.
@Suite struct ExplorationTests {
    static let explorations = [
        Exploration(name: "claims from different hosts", actors: [.init("a", .add("x")), .init("b", .add("y"))]),
        Exploration(
            name: "claims of the last block", pool: "10.0.0.0/31",
            actors: [.init("a", .add("x")), .init("b", .add("y"))]),
        Exploration(
            name: "claims from the same host", actors: [.init("a", .add("x"), .add("y")), .init("b", .add("z"))],
            fates: [.killLate, .failAfter]),
        Exploration(
            name: "release while another claims", pool: "10.0.0.0/31", setup: [.init("a", .add("x"), .add("y"))],
            actors: [.init("a", .delete("x")), .init("b", .add("z"))]),
        Exploration(
            name: "claim while being deleted", setup: [.init("a", .add("x"))],
            actors: [.init("world", .deletePool("p")), .init("a", .delete("x"), .tidy), .init("b", .add("y"))]),
        Exploration(
            name: "reclaim an empty block", pool: "10.0.0.0/31", setup: [.init("a", .add("x"), .delete("x"))],
            actors: [.init("a", .add("y")), .init("b", .add("z"))], pause: 40),
        Exploration(
            name: "reclaim while its owner fills it", pool: "10.0.0.0/31",
            setup: [.init("a", .add("x"), .delete("x"))],
            actors: [.init("a", .add("u"), .add("v")), .init("b", .add("z"))], pause: 100, fates: [.conflict]),
        Exploration(
            name: "collect a vanished pod's address while it is wanted", pool: "10.0.0.0/31",
            setup: [.init("a", .add("x"), .add("y"))],
            actors: [.init("collector", .collect), .init("b", .add("z"))], vanished: ["x"], pause: 100),
        Exploration(
            name: "collect while the pod is deleted", setup: [.init("a", .add("x"))],
            actors: [.init("collector", .collect), .init("a", .delete("x"), .add("y"))], vanished: ["x"], pause: 100),
        Exploration(
            name: "a node dies while another takes its block", pool: "10.0.0.0/31",
            setup: [.init("a", .add("x"))],
            actors: [
                .init("world", .lose("a")), .init("collector", .collect), .init("b", .add("y"), .add("z")),
            ], pause: 100, fates: [.killAfter]),
        Exploration(
            name: "a node dies in the middle of an ADD",
            actors: [.init("a", .add("x")), .init("world", .lose("a")), .init("collector", .collect, .collect)],
            pause: 100, fates: [.killLate]),
        Exploration(
            name: "an ADD is repeated by the successor of a killed process", pool: "10.0.0.0/31",
            actors: [.init("a", .add("x")), .init("b", .add("y"), .delete("y"))]),
        Exploration(
            name: "an ADD is repeated while what took back the failed one is late",
            actors: [.init("a", .add("x"))], fates: [.failAfter, .killLate], leastFaults: 2),
    ]

    private static let environment = ProcessInfo.processInfo.environment
    private static func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }

    /// Quick ones that are complete without faults; or what the environment says.
    private static let bounds: [Bounds] =
        if let preemptions = number("CATBIRD_PREEMPTIONS") {
            [
                Bounds(
                    preemptions: preemptions, faults: number("CATBIRD_FAULTS") ?? 1,
                    runs: number("CATBIRD_RUNS") ?? .max)
            ]
        } else {
            [Bounds(preemptions: 2, faults: 0, runs: .max), Bounds(preemptions: 0, faults: 1, runs: 40)]
        }

    @Test(arguments: explorations.map(\.name), [false, true])
    func noOrderOfRequestsBreaksAnInvariant(name: String, isStale: Bool) async throws {
        let exploration = try #require(Self.explorations.first { $0.name == name })
        for bounds in Self.bounds {
            let report = await Explorer(exploration: exploration, bounds: bounds, isStale: isStale).explore()
            let extent = report.isComplete ? "all" : "the first"
            print(
                "\(name)\(isStale ? ", stale watches" : ""): \(extent) \(report.runs) interleavings with at most \(bounds.preemptions) preemption(s) and \(bounds.faults) fault(s)"
            )
            #expect(report.failure == nil)
        }
    }
}
