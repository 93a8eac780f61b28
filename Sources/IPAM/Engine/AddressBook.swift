// SPDX-License-Identifier: Apache-2.0

import KubeObjects
public import Logging
public import NetworkModel
public import Values

/// Gives out and takes back addresses: `NetworkModel` decides, this commits the decision to the store's objects by
/// compare-and-swap, and decides again when somebody was faster.
///
/// Requests that arrive while a write is under way are answered together with the next one, so that many pods that
/// start at once cost few writes of their block. Killed between any two writes it leaves objects that give nothing
/// twice and that the next writer, or the garbage collector, brings in order.
public actor AddressBook {
    /// Addresses that are committed.
    public struct Assigned: Sendable, Hashable {
        /// At least one, in the order of the request's families.
        public let addresses: [HeldAddress]
        /// For people: from which pool and why.
        public let explanation: String
        /// False when the handle held all of them already.
        public let isNew: Bool

        public init(addresses: [HeldAddress], explanation: String, isNew: Bool) {
            self.addresses = addresses
            self.explanation = explanation
            self.isNew = isNew
        }
    }

    /// Others kept changing the objects in between.
    public struct Contention: Error, Sendable, Hashable, CustomStringConvertible {
        public let subject: String
        public var description: String {
            "\(subject): other writers changed the IPAM objects at each of \(AddressBook.attempts) attempts; try again"
        }
    }

    /// What a runtime is made to wait at most, which itself gives up after minutes.
    public static let usualDeadline = Duration.seconds(30)

    /// How often a decision is made anew after somebody was faster.
    public static let attempts = 30

    /// The store did not answer in time; whether it has done what it was asked for is not known.
    public struct Overdue: Error, Sendable, Hashable, CustomStringConvertible {
        public let subject: String
        public let deadline: Duration
        public var description: String {
            "\(subject): the IPAM objects' store has not answered for \(deadline); try again when it does"
        }
    }

    enum Job {
        case assign(AddressRequest, Answer<Assigned>)
        case release([ReleaseItem], Answer<[ReleaseOutcome]>)
        case perform(@Sendable (isolated AddressBook) async throws -> Void, Answer<Void>)
    }

    let store: any IPAMStore
    let node: String
    let logger: Logger
    let journal: ReleaseJournal?
    private let deadline: Duration?
    private let now: @Sendable () -> Timestamp
    private let onChange: @Sendable () -> Void
    private var queue: [Job] = []
    private var isWorking = false
    private var told: Set<String> = []

    var view = IPAMView()
    /// Handles as last written, so that releasing one does not need to read it.
    var handles: [String: IPAMHandle] = [:]
    /// Handles whose addresses no write that is still on its way can take away: this process gave them, or made sure,
    /// and has not begun to release them since.
    var vouched: Set<String> = []

    /// - Parameters:
    ///   - node: whose empty blocks ``tidy()`` gives up.
    ///   - journal: where releases wait while the store cannot be reached; nil has ``release(handleIDs:)`` fail.
    ///   - deadline: how long ``assign(_:)`` and ``release(_:)`` wait for the store; nil for as long as it takes.
    ///   - onChange: called after each batch of writes.
    public init(
        store: any IPAMStore, node: String, journal: ReleaseJournal? = nil, deadline: Duration? = nil,
        logger: Logger = Logger(label: "ipam"), now: @escaping @Sendable () -> Timestamp = { .now },
        onChange: @escaping @Sendable () -> Void = {}
    ) {
        self.store = store
        self.node = node
        self.journal = journal
        self.deadline = deadline
        self.logger = logger
        self.now = now
        self.onChange = onChange
        view.feed = store.feed()
    }

    var time: Timestamp { now() }

    /// Addresses for the handle: new ones, or those that it holds. All that the request asks for, or none.
    ///
    /// - Throws: ``AddressRefusal`` when there is none to be had, ``Contention``, ``Overdue``, or what the store throws.
    ///   What an overdue request is given later goes back at once.
    public func assign(_ request: AddressRequest) async throws -> Assigned {
        // A release that waits was for the sandbox that came before, or for an ADD that failed: it is not wanted now.
        try journal?.remove(handleID: request.handleID)
        return try await withCheckedThrowingContinuation {
            enqueue(.assign(request, answer($0, request.subject)))
        }
    }

    /// Takes back single addresses or all of a handle, and says for each item what became of it.
    public func release(_ items: [ReleaseItem]) async throws -> [ReleaseOutcome] {
        guard !items.isEmpty else { return [] }
        return try await withCheckedThrowingContinuation {
            enqueue(.release(items, answer($0, "\(items.count) release(s)")))
        }
    }

    /// Work that must not overlap with other changes of this process.
    func perform(_ body: @escaping @Sendable (isolated AddressBook) async throws -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            enqueue(.perform(body, Answer(continuation)))
        }
    }

    /// One that is given up when the deadline has passed.
    private func answer<Value>(
        _ continuation: CheckedContinuation<Value, any Error>,
        _ subject: String
    ) -> Answer<Value> {
        let answer = Answer(continuation)
        if let deadline { answer.expire(after: deadline, throwing: Overdue(subject: subject, deadline: deadline)) }
        return answer
    }

    func enqueue(_ job: Job) {
        queue.append(job)
        guard !isWorking else { return }
        isWorking = true
        // Lives until the queue is empty; those who wait hold its results.
        Task { await work() }
    }

    private func work() async {
        while !queue.isEmpty {
            let batch = queue
            queue = []
            do {
                try await store.begin()
            } catch {
                for job in batch { Self.fail(job, error) }
                continue
            }
            await carryOut(batch)
            await store.end()
            onChange()
        }
        isWorking = false
    }

    private func carryOut(_ batch: [Job]) async {
        var assignments: [(AddressRequest, Answer<Assigned>)] = []
        var releases: [([ReleaseItem], Answer<[ReleaseOutcome]>)] = []
        var others: [(@Sendable (isolated AddressBook) async throws -> Void, Answer<Void>)] = []
        for job in batch {
            switch job {
            case .assign(let request, let continuation): assignments.append((request, continuation))
            case .release(let items, let continuation): releases.append((items, continuation))
            case .perform(let body, let continuation): others.append((body, continuation))
            }
        }
        // Releases first: what they free may be what the others need.
        if !releases.isEmpty { await performReleases(releases) }
        if !assignments.isEmpty { await performAssignments(assignments) }
        for (body, continuation) in others {
            do {
                try await body(self)
                continuation.resume(returning: ())
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    private static func fail(_ job: Job, _ error: any Error) {
        switch job {
        case .assign(_, let continuation): continuation.resume(throwing: error)
        case .release(_, let continuation): continuation.resume(throwing: error)
        case .perform(_, let continuation): continuation.resume(throwing: error)
        }
    }

    /// The objects as they are by the best knowledge of this process.
    public func snapshot() -> IPAMSnapshot {
        view.take(from: store, now: time)
        for problem in Set(view.problems.values).subtracting(told) {
            logger.error("\(problem)")
            told.insert(problem)
        }
        return view.snapshot
    }

    /// What a handle holds, after a store that nobody watches was read anew.
    public func refreshed(_ handleID: String) async throws -> [HeldAddress] {
        try await perform { book in book.view.take(from: book.store, now: book.time) }
        return held(handleID)
    }

    /// What a handle holds by the best knowledge of this process.
    public func held(_ handleID: String) -> [HeldAddress] {
        view.take(from: store, now: time)
        return view.held(handleID)
    }
}

extension AddressBook.Assigned {
    /// The first of the addresses.
    public var address: IPAddress { addresses[0].address }
    public var block: CIDR { addresses[0].block }
}
