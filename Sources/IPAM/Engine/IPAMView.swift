// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
public import Values

/// The IPAM objects by the best knowledge of this process: what a watch has brought, and over it what the process wrote
/// or fetched itself; whichever is newer counts. Only what changed is parsed.
struct IPAMView {
    private struct Entry {
        let version: Int64
        let cidr: CIDR
        /// Known from an own write or fetch, and not yet from the watch.
        var isOwn: Bool
        var isDeleted = false
        var since = Timestamp(seconds: 0)
    }

    /// How long an own write is believed that the watch does not show. Watches catch up within milliseconds; only an
    /// object that somebody deleted before the watch came to it is never shown.
    private static let trust = 60.0

    private var now = Timestamp(seconds: 0)

    private(set) var snapshot = IPAMSnapshot()
    private var blocks: [String: Entry] = [:]
    private var affinities: [String: Entry] = [:]
    private var claims: [String: BlockAffinity] = [:]
    private var holders: [String: Set<CIDR>] = [:]
    private var poolVersions: [String: String] = [:]
    private var nodeVersions: [String: String] = [:]
    private var configVersion: String?
    private var revision: String?
    /// What has been heard of by name, where a feed tells: pools and reservations.
    private var pools: [String: KubeObject] = [:]
    private var reservations: [String: IPReservation] = [:]
    /// The names of entries that are own.
    private var ownBlocks: Set<String> = []
    private var ownClaims: Set<String> = []
    /// Nil for a store that has to be asked for all its objects.
    var feed: (any IPAMFeed)?
    private(set) var problems: [String: String] = [:]

    /// Versions grow with time; one that is not a number counts as older than any.
    private static func version(_ object: KubeObject) -> Int64 { Int64(object.resourceVersion) ?? 0 }

    // MARK: What the watch brings

    mutating func take(from store: some IPAMStore, now: Timestamp) {
        self.now = now
        if let feed { return take(feed.news(), feed) }
        let current = store.revision
        if let current, current == revision { return }
        revision = current
        let objects = store.objects
        takePools(objects.pools)
        takeNodes(objects.nodes)
        if objects.config?.resourceVersion != configVersion {
            configVersion = objects.config?.resourceVersion
            snapshot.config = objects.config.map { IPAMConfig($0) } ?? IPAMConfig()
        }
        takeReservations(objects.reservations)
        takeBlocks(objects.blocks)
        takeAffinities(objects.affinities)
    }

    /// Work for what changed, and for what was written here and is not shown yet.
    private mutating func take(_ news: IPAMNews, _ feed: some IPAMFeed) {
        var arePoolsChanged = false
        var areReservationsChanged = false
        for change in news.changes {
            let object = change.object
            let name = object.name
            switch change.resource {
            case .ipPools:
                pools[name] = change.isDeletion ? nil : object
                arePoolsChanged = true
            case .ipReservations:
                reservations[name] = change.isDeletion ? nil : IPReservation(object)
                areReservationsChanged = true
            case .nodes:
                let labels = change.isDeletion ? nil : object.labels
                if snapshot.nodes[name] != labels { snapshot.nodes[name] = labels }
            case .ipamConfigs:
                if name == "default" { snapshot.config = change.isDeletion ? IPAMConfig() : IPAMConfig(object) }
            case .ipamBlocks:
                if change.isDeletion { leftBlock(object) } else { takeBlock(object) }
            case .blockAffinities:
                if change.isDeletion { leftClaim(object) } else { takeClaim(object) }
            default: break
            }
        }
        if arePoolsChanged { (snapshot.pools, snapshot.problems) = IPPool.read(pools.values) }
        if areReservationsChanged { snapshot.reservations = reservations.values.sorted { $0.name < $1.name } }
        for name in ownBlocks {
            guard let entry = blocks[name], isPassed(entry, news.blocksReached), !feed.shows(.ipamBlocks, name) else {
                continue
            }
            removeBlock(name, entry.cidr)
        }
        for name in ownClaims {
            guard let entry = affinities[name], isPassed(entry, news.claimsReached),
                !feed.shows(.blockAffinities, name)
            else { continue }
            forgetClaim(name)
        }
    }

    /// Whether the watch would show the object as it was written here, if it were still there.
    private func isPassed(_ entry: Entry, _ reached: Int64) -> Bool {
        if reached > 0 { return reached >= entry.version }
        let age = now.seconds(since: entry.since)
        return age < 0 || age > Self.trust
    }

    private mutating func leftBlock(_ object: KubeObject) {
        problems[object.name] = nil
        guard let entry = blocks[object.name], !entry.isOwn || entry.version <= Self.version(object) else { return }
        removeBlock(object.name, entry.cidr)
    }

    private mutating func leftClaim(_ object: KubeObject) {
        let name = object.name
        guard let entry = affinities[name], !entry.isOwn || entry.version <= Self.version(object) else { return }
        forgetClaim(name)
    }

    private mutating func takePools(_ objects: [KubeObject]) {
        let versions = Dictionary(objects.map { ($0.name, $0.resourceVersion) }, uniquingKeysWith: { $1 })
        guard versions != poolVersions || versions.isEmpty else { return }
        poolVersions = versions
        (snapshot.pools, snapshot.problems) = IPPool.read(objects)
    }

    private mutating func takeNodes(_ objects: [KubeObject]) {
        let versions = Dictionary(objects.map { ($0.name, $0.resourceVersion) }, uniquingKeysWith: { $1 })
        guard versions != nodeVersions else { return }
        nodeVersions = versions
        let labels = Dictionary(objects.map { ($0.name, $0.labels) }, uniquingKeysWith: { $1 })
        if labels != snapshot.nodes { snapshot.nodes = labels }
    }

    private mutating func takeReservations(_ objects: [KubeObject]) {
        let reservations = objects.map { IPReservation($0) }.sorted { $0.name < $1.name }
        if reservations != snapshot.reservations { snapshot.reservations = reservations }
    }

    /// Whether an object that the watch does not show is gone: always, unless this process wrote it just now.
    private func isGone(_ entry: Entry, newest: Int64) -> Bool {
        guard entry.isOwn, !entry.isDeleted else { return true }
        // A watch that shows a later version has come past this one.
        if newest > entry.version { return true }
        let age = now.seconds(since: entry.since)
        return age < 0 || age > Self.trust
    }

    private mutating func takeBlocks(_ watched: [KubeObject]) {
        let newest = watched.reduce(0) { max($0, Self.version($1)) }
        var seen: Set<String> = []
        seen.reserveCapacity(watched.count)
        for object in watched {
            let name = object.name
            seen.insert(name)
            takeBlock(object)
        }
        for (name, entry) in blocks where !seen.contains(name) && isGone(entry, newest: newest) {
            removeBlock(name, entry.cidr)
        }
        for name in problems.keys where !seen.contains(name) { problems[name] = nil }
    }

    private mutating func takeAffinities(_ watched: [KubeObject]) {
        let newest = watched.reduce(0) { max($0, Self.version($1)) }
        var seen: Set<String> = []
        seen.reserveCapacity(watched.count)
        for object in watched {
            let name = object.name
            seen.insert(name)
            takeClaim(object)
        }
        for (name, entry) in affinities where !seen.contains(name) && isGone(entry, newest: newest) {
            forgetClaim(name)
        }
    }

    private mutating func takeBlock(_ object: KubeObject) {
        let version = Self.version(object)
        guard let entry = blocks[object.name], entry.version >= version else {
            return store(object, version, isOwn: false)
        }
        guard entry.version == version, entry.isOwn, !entry.isDeleted else { return }
        blocks[object.name]?.isOwn = false
        ownBlocks.remove(object.name)
    }

    private mutating func takeClaim(_ object: KubeObject) {
        let name = object.name
        let version = Self.version(object)
        if let entry = affinities[name], entry.version >= version {
            guard entry.version == version, entry.isOwn, !entry.isDeleted else { return }
            affinities[name]?.isOwn = false
            ownClaims.remove(name)
            return
        }
        guard let claim = try? BlockAffinity(object) else { return }
        affinities[name] = Entry(version: version, cidr: claim.cidr, isOwn: false)
        ownClaims.remove(name)
        set(claim)
    }

    private mutating func set(_ claim: BlockAffinity) {
        claims[claim.name] = claim
        snapshot.affinities.insert(claim)
    }

    private mutating func forgetClaim(_ name: String) {
        affinities[name] = nil
        ownClaims.remove(name)
        removeClaim(name)
    }

    private mutating func removeClaim(_ name: String) {
        guard let claim = claims.removeValue(forKey: name) else { return }
        snapshot.affinities.remove(claim.cidr, of: claim.owner)
    }

    private mutating func store(_ object: KubeObject, _ version: Int64, isOwn: Bool) {
        do {
            let block = try IPAMBlock(object)
            problems[object.name] = nil
            blocks[object.name] = Entry(version: version, cidr: block.cidr, isOwn: isOwn, since: now)
            if isOwn { ownBlocks.insert(object.name) } else { ownBlocks.remove(object.name) }
            set(block, block.cidr)
        } catch {
            problems[object.name] = "\(error); its addresses are left alone"
        }
    }

    private mutating func removeBlock(_ name: String, _ cidr: CIDR) {
        blocks[name] = nil
        ownBlocks.remove(name)
        set(nil, cidr)
    }

    private mutating func set(_ block: IPAMBlock?, _ cidr: CIDR) {
        let before = Set((snapshot.blocks[cidr]?.attributes ?? []).compactMap(\.handleID))
        let after = Set((block?.attributes ?? []).compactMap(\.handleID))
        for handleID in before.subtracting(after) {
            holders[handleID]?.remove(cidr)
            if holders[handleID]?.isEmpty ?? false { holders[handleID] = nil }
        }
        for handleID in after.subtracting(before) { holders[handleID, default: []].insert(cidr) }
        snapshot.blocks[cidr] = block
    }

    // MARK: What this process wrote or fetched

    mutating func note(_ resource: GroupVersionResource, _ object: KubeObject) {
        let version = Self.version(object)
        switch resource {
        case .ipamBlocks:
            if let known = blocks[object.name], known.version > version { return }
            store(object, version, isOwn: true)
        case .blockAffinities:
            if let known = affinities[object.name], known.version > version { return }
            guard let claim = try? BlockAffinity(object) else { return }
            affinities[object.name] = Entry(version: version, cidr: claim.cidr, isOwn: true, since: now)
            ownClaims.insert(object.name)
            set(claim)
        default: break
        }
    }

    /// The object, as it was when last seen, is no more.
    mutating func noteDeletion(_ resource: GroupVersionResource, _ object: KubeObject) {
        let version = Self.version(object)
        switch resource {
        case .ipamBlocks:
            guard let known = blocks[object.name], known.version <= version else { return }
            removeBlock(object.name, known.cidr)
            bury(block: object.name, known.cidr, version)
        case .blockAffinities:
            guard let known = affinities[object.name], known.version <= version else { return }
            bury(claim: object.name, known.cidr, version)
        default: break
        }
    }

    /// There is no object of the name, whatever was known of it.
    mutating func noteAbsence(_ resource: GroupVersionResource, _ name: String) {
        switch resource {
        case .ipamBlocks:
            guard let known = blocks[name] else { return }
            removeBlock(name, known.cidr)
            bury(block: name, known.cidr, known.version)
        case .blockAffinities:
            guard let known = affinities[name] else { return }
            bury(claim: name, known.cidr, known.version)
        default: break
        }
    }

    /// Remembers that there is none, until the watch knows it too.
    private mutating func bury(block name: String, _ cidr: CIDR, _ version: Int64) {
        blocks[name] = Entry(version: version, cidr: cidr, isOwn: true, isDeleted: true, since: now)
        ownBlocks.insert(name)
    }

    private mutating func bury(claim name: String, _ cidr: CIDR, _ version: Int64) {
        affinities[name] = Entry(version: version, cidr: cidr, isOwn: true, isDeleted: true, since: now)
        ownClaims.insert(name)
        removeClaim(name)
    }

    // MARK: Questions

    func claim(named name: String) -> BlockAffinity? { claims[name] }

    /// The networks of the blocks in which a handle holds addresses, sorted.
    func networks(ofHandle handleID: String) -> [CIDR] { (holders[handleID] ?? []).sorted() }

    /// What a handle holds, by network and ordinal.
    func held(_ handleID: String) -> [HeldAddress] {
        networks(ofHandle: handleID).flatMap { cidr in
            guard let block = snapshot.blocks[cidr] else { return [HeldAddress]() }
            return block.ordinals(ofHandle: handleID).compactMap { ordinal in
                block.address(at: ordinal).map { HeldAddress(address: $0, block: cidr) }
            }
        }
    }

    // MARK: Decisions on the way

    /// Lets following decisions see a block as it will be; ``unstage(_:)`` before anything else looks.
    mutating func stage(_ block: IPAMBlock) -> (CIDR, IPAMBlock?) {
        let before = snapshot.blocks[block.cidr]
        snapshot.blocks[block.cidr] = block
        return (block.cidr, before)
    }

    mutating func stage(_ claim: BlockAffinity) {
        if claims[claim.name] == nil { set(claim) }
    }

    /// Undoes what was staged, the last first.
    mutating func unstage(_ blocks: [(CIDR, IPAMBlock?)], claims staged: [String]) {
        for (cidr, before) in blocks.reversed() { snapshot.blocks[cidr] = before }
        for name in staged where affinities[name].map(\.isDeleted) ?? true { removeClaim(name) }
    }
}

/// An address and the block that it lies in.
public struct HeldAddress: Sendable, Hashable {
    public let address: IPAddress
    public let block: CIDR

    public init(address: IPAddress, block: CIDR) {
        self.address = address
        self.block = block
    }
}
