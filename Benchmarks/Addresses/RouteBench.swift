// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Linux
import NetworkModel
import Values

/// How long a new block's route takes to each of 100 nodes: real agents in one process, a network namespace each.
enum RouteBench {
    private static let count = 100

    static func run() async throws {
        let rig = try await Rig(nodes: count, pool: "10.0.0.0/16")
        try await rig.withAgents {
            try await rig.server.withStore { store in
                let others = Array(rig.nodes.dropFirst())
                let book = AddressBook(store: store, node: "n1")
                let cidr = CIDR("10.0.255.0/26")
                guard let cidr else { return }
                let clock = ContinuousClock()
                let times = try await withThrowingTaskGroup(of: Double.self) { group in
                    let monitors = try others.map { ($0, try NetlinkMonitor([.routes], in: rig.namespace($0))) }
                    let start = clock.now
                    for (_, monitor) in monitors {
                        group.addTask {
                            for await events in monitor.events {
                                let isThere = events.contains {
                                    if case .route(let route) = $0 { route.destination == cidr } else { false }
                                }
                                if isThere { return (clock.now - start) / .seconds(1) }
                            }
                            return 0
                        }
                    }
                    _ = try await book.claim(cidr, for: "n1")
                    var times: [Double] = []
                    for try await time in group { times.append(time) }
                    return times
                }
                let floor = try await Measure.seconds {
                    for node in others {
                        let socket = try NetlinkSocket(in: rig.namespace(node))
                        let link = try socket.requireLink("eth0").index
                        if let other = CIDR("10.99.0.0/26") {
                            try socket.addRoute(
                                Route(to: other, via: IPAddress("172.30.0.2"), interface: link))
                        }
                    }
                }
                let all = times.max() ?? 0
                print(
                    "routes of a new block on \(others.count) other nodes (agents in one process, a namespace each): first \(Measure.text((times.min() ?? 0) * 1000, 1)) ms, half \(Measure.text(Measure.quantile(times, 0.5) * 1000, 1)) ms, all \(Measure.text(all * 1000, 1)) ms (\(Measure.text(all / floor, 1)) times \(others.count) bare netlink writes, \(Measure.text(floor * 1000, 1)) ms)"
                )
            }
        }
    }
}
