// SPDX-License-Identifier: Apache-2.0

import KubeClient
public import NetworkModel
import Synchronization
import Values

/// What the tables of this node should hold for Services, and what of it has yet to be written.
public final class ServicePlane: Sendable {
    private struct State {
        var calculation: ServiceCalculation
        var pending = ServiceChanges()
        var isComplete = false
    }

    private let state: Mutex<State>

    init(node: String) { state = Mutex(State(calculation: ServiceCalculation(node: node))) }

    /// Takes events in their order.
    ///
    /// - Returns: whether anything is to be written or told.
    @discardableResult
    public func take(_ events: [ServiceCalculation.Event]) -> Bool {
        state.withLock { state in
            for event in events { state.pending.merge(state.calculation.take(event)) }
            return !state.pending.isEmpty
        }
    }

    /// Whether all Services and endpoints have been taken. Until then those that an earlier run wrote stay as they are.
    public var isComplete: Bool { state.withLock { $0.isComplete } }

    public func complete() { state.withLock { $0.isComplete = true } }

    /// Whether a Service has an address of a family.
    func isUsed(_ family: IPFamily) -> Bool { state.withLock { $0.calculation.isUsed(family) } }

    var problems: [String] { state.withLock { $0.calculation.problems } }

    /// Where load balancers ask, if that may have changed since the last call.
    func takeHealthChecks() -> [ServiceCalculation.HealthCheck]? {
        state.withLock { state in
            guard state.pending.healthChecks else { return nil }
            state.pending.healthChecks = false
            return state.calculation.healthCheckPorts
        }
    }

    /// All that a family's table should hold; nothing is pending after that.
    func whole(_ family: IPFamily) -> [ServiceElement: ServiceElement.Value] {
        state.withLock { state in
            _ = state.pending.take(family)
            return state.calculation.elements(family)
        }
    }

    /// What a family's table should hold otherwise than when this was asked last, and after how many seconds affinities
    /// end in it.
    func takePending(_ family: IPFamily) -> (changes: ServiceChanges, times: Set<Int>) {
        state.withLock { ($0.pending.take(family), $0.calculation.affinityTimes(family)) }
    }

    func isStale(_ flow: ServiceCalculation.Flow, lost: Set<UInt32>) -> Bool {
        state.withLock { $0.calculation.isStale(flow, lost: lost) }
    }

    func isKept(_ mark: UInt32, _ endpoint: ServicePort.Endpoint, _ family: IPFamily) -> Bool {
        state.withLock { $0.calculation.isKept(mark, endpoint, family) }
    }
}

extension ServicePlane {
    func takeServices(_ events: [InformerEvent]) -> Bool {
        take(events.map { .service($0.key, $0.isDeletion ? nil : $0.object) })
    }

    func takeSlices(_ events: [InformerEvent]) -> Bool {
        take(events.map { .slice($0.key, $0.isDeletion ? nil : $0.object) })
    }
}
