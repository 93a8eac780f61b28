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
    private(set) var problems: [String: String] = [:]

    /// Versions grow with time; one that is not a number counts as older than any.
    private static func version(_ object: KubeObject) -> Int64 { Int64(object.resourceVersion) ?? 0 }

    // MARK: What the watch brings

    mutating func take(from store: some IPAMStore, now: Timestamp) {
        self.now = now
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
            let version = Self.version(object)
            if let entry = blocks[name], entry.version >= version {
                if entry.version == version, entry.isOwn, !entry.isDeleted { blocks[name]?.isOwn = false }
                continue
            }
            store(object, version, isOwn: false)
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
            let version = Self.version(object)
            if let entry = affinities[name], entry.version >= version {
                if entry.version == version, entry.isOwn, !entry.isDeleted { affinities[name]?.isOwn = false }
                continue
            }
            guard let claim = try? BlockAffinity(object) else { continue }
            affinities[name] = Entry(version: version, cidr: claim.cidr, isOwn: false)
            set(claim)
        }
        for (name, entry) in affinities where !seen.contains(name) && isGone(entry, newest: newest) {
            affinities[name] = nil
            removeClaim(name)
        }
    }

    private mutating func set(_ claim: BlockAffinity) {
        claims[claim.name] = claim
        snapshot.affinities.insert(claim)
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
            set(block, block.cidr)
        } catch {
            problems[object.name] = "\(error); its addresses are left alone"
        }
    }

    private mutating func removeBlock(_ name: String, _ cidr: CIDR) {
        blocks[name] = nil
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
            blocks[object.name] = Entry(version: version, cidr: known.cidr, isOwn: true, isDeleted: true)
        case .blockAffinities:
            guard let known = affinities[object.name], known.version <= version else { return }
            affinities[object.name] = Entry(version: version, cidr: known.cidr, isOwn: true, isDeleted: true)
            removeClaim(object.name)
        default: break
        }
    }

    /// There is no object of the name, whatever was known of it.
    mutating func noteAbsence(_ resource: GroupVersionResource, _ name: String) {
        switch resource {
        case .ipamBlocks:
            guard let known = blocks[name] else { return }
            removeBlock(name, known.cidr)
            blocks[name] = Entry(version: known.version, cidr: known.cidr, isOwn: true, isDeleted: true)
        case .blockAffinities:
            guard let known = affinities[name] else { return }
            affinities[name] = Entry(version: known.version, cidr: known.cidr, isOwn: true, isDeleted: true)
            removeClaim(name)
        default: break
        }
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
