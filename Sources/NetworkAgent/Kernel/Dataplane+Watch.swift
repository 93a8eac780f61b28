// SPDX-License-Identifier: Apache-2.0

import Linux
import NetworkModel
import Synchronization
import Values

// MARK: What others change

extension Dataplane {
    /// Calls `onChange` whenever the kernel tells that routes or tunnels of ours were changed by somebody else, `onTable`
    /// when that was a table of nftables, and `onSandbox` when it was a sandbox's link, until cancelled.
    public func watch(
        onSandbox: @escaping @Sendable () -> Void = {}, onTable: @escaping @Sendable () -> Void = {},
        onChange: @escaping @Sendable () -> Void
    ) async throws {
        let monitor = try NetlinkMonitor(
            [.links, .routes, .routes6, .addresses, .addresses6, .neighbours], in: namespace)
        let tableMonitor = try NFTablesMonitor(in: namespace)
        // Nobody told of what happened before.
        state.withLock { state in
            state.forget()
            state.onSandbox = onSandbox
        }
        for table in tables.values { _ = table.forget() }
        onChange()
        onTable()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await events in monitor.events {
                    let (isChanged, isDamaged) = state.withLock { state in
                        let damaged = state.damaged.count
                        return (Self.take(events, &state), state.damaged.count != damaged)
                    }
                    if isChanged { onChange() }
                    if isDamaged { onSandbox() }
                }
            }
            group.addTask { [self] in
                for await events in tableMonitor.events where try take(events) { onTable() }
            }
            try await group.waitForAll()
        }
    }

    private func take(_ events: [NFTablesEvent]) throws -> Bool {
        var isChanged = false
        for change in try ownership.foreign(in: events) {
            guard let family = IPFamily.allCases.first(where: { Self.table($0) == change.table }),
                tables[family]?.forget() == true
            else { continue }
            isChanged = true
            let program = change.program.isEmpty ? "somebody" : change.program
            state.withLock { $0.tableLosses[family] = "nftables' table \(change.table), which \(program) had changed" }
        }
        return isChanged
    }

    /// What was put back since the last call, for people.
    public func takeRepairs() -> [String] {
        state.withLock { state in
            defer { state.repairs = [] }
            return state.repairs
        }
    }

    private static func take(_ events: [NetlinkEvent], _ state: inout DataplaneState) -> Bool {
        var changed = false
        for event in events {
            for family in IPFamily.allCases {
                if state.routes[family].take(event) { changed = true }
                if state.tunnels[family].take(event) { changed = true }
            }
            if state.ipip.take(event) { changed = true }
            switch event {
            case .link(let link) where !link.isUp && state.sandboxes[link.name] != nil: state.damaged.insert(link.name)
            case .linkRemoved(let link) where state.sandboxes[link.name] != nil: state.damaged.insert(link.name)
            case .overflow: state.mustForwardIPv6 = state.forwardsIPv6
            default: break
            }
        }
        return changed
    }
}
