// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects

/// The writes of a cache that are on their way. What the watch brings of such an object meanwhile may be the write
/// itself, sooner than its answer: it is told as an echo, and what then turns out to be somebody else's is told again.
struct WriteFlights {
    private struct Flight {
        let id: Int
        let origin: WorkOrigin
        var told: [ResourceCache.Change] = []
    }

    private var flights: [ObjectKey: [Flight]] = [:]
    private var last = 0

    mutating func begin(_ key: ObjectKey, _ origin: WorkOrigin) -> Int {
        last += 1
        flights[key, default: []].append(Flight(id: last, origin: origin))
        return last
    }

    /// The work whose write a change may be.
    mutating func told(_ change: ResourceCache.Change) -> Set<WorkOrigin> {
        let key = change.object.key
        guard var own = flights[key] else { return [] }
        for index in own.indices { own[index].told.append(change) }
        flights[key] = own
        return Set(own.map(\.origin))
    }

    /// The changes that were taken for the write and are not; of a write that failed, all.
    mutating func end(_ key: ObjectKey, _ id: Int, wrote version: String?) -> [ResourceCache.Change] {
        guard let index = flights[key]?.firstIndex(where: { $0.id == id }), let flight = flights[key]?.remove(at: index)
        else { return [] }
        if flights[key]?.isEmpty ?? false { flights[key] = nil }
        return flight.told.filter { $0.new?.resourceVersion != version }
    }
}
