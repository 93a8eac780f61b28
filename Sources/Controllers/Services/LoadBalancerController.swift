// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Synchronization
import Values

/// Gives Services of type LoadBalancer their addresses and takes them back.
///
/// `LoadBalancerAddresses` decides whether an address comes from IPPools, of which the allocator gives it under a handle of
/// the Service's, or from the cluster's own range. Who has which address of the range is read from the Services
/// themselves: nothing is kept that a crash could lose. One worker decides, so no address is given twice.
struct LoadBalancerController: Controller {
    private enum Work: Sendable, Hashable {
        case service(ObjectKey)
        /// A Service is gone: what its handle holds goes back.
        case release(handleID: String, ObjectKey)
        /// Handles of Services that went while nobody looked.
        case sweep
        /// Those that were refused, once more.
        case retry
    }

    /// Services tend to go in crowds: those that were refused are looked at once for the crowd.
    private static let gathering = Duration.milliseconds(100)

    /// The index of Services by the addresses that they show.
    static let index = "load balancer address"

    private final class State: Sendable {
        /// Services that got less than they ask for: tried again when something has become free.
        let refused = Mutex<Set<ObjectKey>>([])
        /// Pools may have been made over addresses that Services have of the range.
        let isAdoptionDue = Mutex(true)
    }

    let context: ControllerContext
    private let objects: IPAMCaches
    private let book: AddressBook
    private let state = State()
    private let queue = WorkQueue<Work>("service")
    private let events: EventRecorder

    /// - Parameter objects: caches that somebody else runs.
    init(_ context: ControllerContext, objects: IPAMCaches, book: AddressBook) {
        self.context = context
        self.objects = objects
        self.book = book
        events = context.events(from: "service-controller")
    }

    func register() {
        let queue = queue
        let services = context.caches.services
        let state = state
        let retry: @Sendable () -> Void = {
            if !state.refused.withLock({ $0.isEmpty }) { queue.addAfter(.retry, Self.gathering) }
        }
        services.onChange { change in
            // Most Services are of other types: nothing is asked about them.
            guard Self.concerns(change.old) || Self.concerns(change.new) else { return }
            queue.add(.service(change.object.key))
            if let old = change.old, old.uid != change.new?.uid {
                queue.add(.release(handleID: LoadBalancerAddresses.handleID(of: old), old.key))
            }
            let shown = LoadBalancerAddresses.shown(change.old)
            if !shown.isEmpty, shown != LoadBalancerAddresses.shown(change.new) { retry() }
        }
        objects.pools.onChange { _ in
            state.isAdoptionDue.withLock { $0 = true }
            for service in services.all where LoadBalancerAddresses.isManaged(service) {
                queue.add(.service(service.key))
            }
        }
        for cache in [objects.reservations, objects.configs, objects.clusterInformation] {
            cache.onChange { _ in retry() }
        }
        objects.blocks.onChange { change in
            // Somebody else may have freed an address: what is released here retries by itself.
            guard !state.refused.withLock({ $0.isEmpty }) else { return }
            let owner = "\(AffinityOwner.loadBalancer)"
            guard change.old?["spec"]["affinity"].string == owner else { return }
            let free = change.new?["spec"]["unallocated"].array?.count ?? .max
            if free > change.old?["spec"]["unallocated"].array?.count ?? 0 { retry() }
        }
    }

    private static func concerns(_ service: KubeObject?) -> Bool {
        guard let service else { return false }
        return service["spec"]["type"].string == "LoadBalancer" || !LoadBalancerAddresses.shown(service).isEmpty
    }

    func run() async {
        for cache in objects.caches { await cache.waitUntilSynced() }
        queue.add(.sweep)
        await queue.run(workers: 1) { work in
            switch work {
            case .service(let key): try await reconcile(key)
            case .release(let handleID, let key): try await release(handleID, of: key)
            case .sweep: try await sweep()
            case .retry: for key in state.refused.withLock({ $0 }) { queue.add(.service(key)) }
            }
        }
    }

    private func reconcile(_ key: ObjectKey) async throws {
        state.refused.withLock { _ = $0.remove(key) }
        guard let service = context.caches.services[key], !service.isBeingDeleted else { return }
        guard LoadBalancerAddresses.isManaged(service) else {
            // Another type now: the address goes back.
            try await release(LoadBalancerAddresses.handleID(of: service), of: key)
            guard service["spec"]["type"].string != "LoadBalancer" else { return }
            try await show([], on: service)
            return
        }
        do {
            try await adopt()
            let held = await held(by: service)
            let snapshot = await book.snapshot()
            switch try LoadBalancerAddresses.source(
                of: service, held: held, range: context.configuration.loadBalancerCIDR, snapshot)
            {
            case .nowhere: state.refused.withLock { _ = $0.insert(key) }
            case .pools(let request):
                guard !objects.isLocked else { throw Locked() }
                try await giveBack(
                    LoadBalancerAddresses.surplus(held, request, snapshot.pools), request.handleID)
                try await assign(request, service)
            case .range(let wanted):
                guard let range = context.configuration.loadBalancerCIDR else { return }
                try await giveBack(held, LoadBalancerAddresses.handleID(of: service))
                let address = try LoadBalancerAddresses.choose(
                    for: service, wanted: wanted, range: range, pools: snapshot.pools,
                    holder: { holder(of: $0, besides: service) })
                if try await show([address], on: service) {
                    events.record(
                        service, type: .normal, reason: "EnsuredLoadBalancer", message: "Ensured load balancer")
                }
            }
        } catch let refusal as LoadBalancerRefusal {
            try await refuse(service, "\(refusal)")
        } catch let refusal as AddressRefusal {
            try await refuse(service, "\(refusal)")
        } catch is Locked {
            state.refused.withLock { _ = $0.insert(key) }
            say(
                "the datastore is locked, and no addresses are given out: calicoctl datastore migrate unlock",
                about: service)
        }
    }

    /// ClusterInformation says `datastoreReady: false`.
    private struct Locked: Error {}

    /// The Service is left with what it holds, and an event says why that is not all.
    private func refuse(_ service: KubeObject, _ reason: String) async throws {
        state.refused.withLock { _ = $0.insert(service.key) }
        try await show(await held(by: service), on: service)
        say(reason, about: service)
    }

    private func say(_ reason: String, about service: KubeObject) {
        events.record(
            service, type: .warning, reason: "SyncLoadBalancerFailed",
            message: "Error syncing load balancer: \(reason)")
    }

    private func held(by service: KubeObject) async -> [IPAddress] {
        await book.held(LoadBalancerAddresses.handleID(of: service)).map(\.address)
    }

    private func holder(of address: IPAddress, besides service: KubeObject) -> ObjectKey? {
        context.caches.services.objects(by: Self.index, "\(address)").first { $0.uid != service.uid }?.key
    }

    // MARK: Pools

    private func assign(_ request: AddressRequest, _ service: KubeObject) async throws {
        let assigned = try await book.assign(request)
        guard try await show(assigned.addresses.map(\.address), on: service) else { return }
        events.record(
            service, type: .normal, reason: "EnsuredLoadBalancer",
            message: "Ensured load balancer: \(assigned.explanation)")
    }

    /// Has the allocator know which of the pools' addresses Services show that they got of the range.
    private func adopt() async throws {
        guard state.isAdoptionDue.withLock({ $0 }), !objects.isLocked else { return }
        state.isAdoptionDue.withLock { $0 = false }
        do {
            for service in context.caches.services.all where LoadBalancerAddresses.isManaged(service) {
                let snapshot = await book.snapshot()
                guard
                    let request = LoadBalancerAddresses.adoption(
                        of: service, held: await held(by: service), snapshot)
                else { continue }
                do { _ = try await book.assign(request) } catch let refusal as AddressRefusal {
                    // It gets another in its own turn, and the event then says so.
                    context.log.notice("\(refusal)")
                    queue.add(.service(service.key))
                }
            }
        } catch {
            state.isAdoptionDue.withLock { $0 = true }
            throw error
        }
    }

    private func giveBack(_ addresses: [IPAddress], _ handleID: String) async throws {
        guard !addresses.isEmpty else { return }
        _ = try await book.release(addresses.map { ReleaseItem(address: $0, handleID: handleID) })
    }

    private func release(_ handleID: String, of key: ObjectKey) async throws {
        state.refused.withLock { _ = $0.remove(key) }
        guard !(await book.held(handleID)).isEmpty else { return }
        let addresses = try await book.release(handleIDs: [handleID])
        context.log.info("Service \(key) has given back \(addresses.map { "\($0)" }.joined(separator: ", "))")
        queue.addAfter(.retry, Self.gathering)
    }

    private func sweep() async throws {
        let snapshot = await book.snapshot()
        var lost: [String: ObjectKey] = [:]
        for cidr in snapshot.blocks.networks(of: .loadBalancer) {
            for (_, attribute) in snapshot.blocks[cidr]?.assignments ?? [] {
                guard let handleID = attribute.handleID, let name = attribute.values["service"] else { continue }
                let key = ObjectKey(attribute.values["namespace"], name)
                let service = context.caches.services[key]
                if !Self.holds(service, handleID) { lost[handleID] = key }
            }
        }
        for (handleID, key) in lost.sorted(by: { $0.key < $1.key }) {
            // The cache may lag behind: the server's word counts.
            do {
                let service = try await context.client.get(.services, key.name, in: key.namespace)
                if Self.holds(service, handleID) { continue }
            } catch let error as APIError where error.isNotFound {
                // Gone, as the cache has it.
            }
            try await release(handleID, of: key)
        }
    }

    /// Whether the handle is that of the Service, and the Service one that has addresses.
    private static func holds(_ service: KubeObject?, _ handleID: String) -> Bool {
        guard let service, LoadBalancerAddresses.handleID(of: service) == handleID else { return false }
        return LoadBalancerAddresses.isManaged(service) || service.isBeingDeleted
    }

    // MARK: Status

    /// Writes the addresses into the Service's status; false when it shows them already.
    @discardableResult
    private func show(_ addresses: [IPAddress], on service: KubeObject) async throws -> Bool {
        guard LoadBalancerAddresses.shown(service) != addresses else { return false }
        var updated = service
        let ingress = addresses.map { address -> JSON in ["ip": JSON("\(address)"), "ipMode": "VIP"] }
        updated["status"]["loadBalancer"] = addresses.isEmpty ? .object([:]) : ["ingress": .array(ingress)]
        do {
            try await context.caches.services.update(updated, subresource: "status")
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
        return true
    }
}
