// SPDX-License-Identifier: Apache-2.0

/// Pods that wait for a decision, the first by priority, then by arrival, at hand.
///
/// A binary heap of places over the pods by uid. A pod that leaves, or whose priority changes, leaves its place behind: it
/// is passed over when it comes up, and swept out when more than half of the places are such.
package struct WaitingPods: Sendable {
    private struct Place: Sendable {
        let uid: String
        let priority: Int
        let arrival: Int

        func precedes(_ other: Place) -> Bool {
            priority == other.priority ? arrival < other.arrival : priority > other.priority
        }
    }

    private struct Entry: Sendable {
        var pod: PodInfo
        let arrival: Int
    }

    private var places: [Place] = []
    private var entries: [String: Entry] = [:]
    private var arrivals = 0

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    /// One that waits already keeps the moment of its arrival.
    package mutating func insert(_ pod: PodInfo) {
        if let known = entries[pod.uid] {
            entries[pod.uid]?.pod = pod
            guard known.pod.priority != pod.priority else { return }
            push(Place(uid: pod.uid, priority: pod.priority, arrival: known.arrival))
            return
        }
        arrivals &+= 1
        entries[pod.uid] = Entry(pod: pod, arrival: arrivals)
        push(Place(uid: pod.uid, priority: pod.priority, arrival: arrivals))
    }

    package mutating func remove(_ uid: String) {
        guard entries.removeValue(forKey: uid) != nil else { return }
        guard places.count > 64, places.count > 2 * entries.count else { return }
        places = places.filter(isCurrent)
        for index in stride(from: places.count / 2 - 1, through: 0, by: -1) { sink(index) }
    }

    /// The first, which waits no more.
    package mutating func popFirst() -> PodInfo? {
        while let place = popPlace() {
            if isCurrent(place) { return entries.removeValue(forKey: place.uid)?.pod }
        }
        return nil
    }

    private func isCurrent(_ place: Place) -> Bool {
        guard let entry = entries[place.uid] else { return false }
        return entry.arrival == place.arrival && entry.pod.priority == place.priority
    }

    // MARK: The heap

    private mutating func push(_ place: Place) {
        places.append(place)
        var index = places.count - 1
        while index > 0, places[index].precedes(places[(index - 1) / 2]) {
            places.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private mutating func popPlace() -> Place? {
        guard let last = places.popLast() else { return nil }
        guard let first = places.first else { return last }
        places[0] = last
        sink(0)
        return first
    }

    private mutating func sink(_ start: Int) {
        var index = start
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < places.count && places[child].precedes(places[least]) { least = child }
            guard least != index else { return }
            places.swapAt(index, least)
            index = least
        }
    }
}
