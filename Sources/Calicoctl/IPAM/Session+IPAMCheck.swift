// SPDX-License-Identifier: Apache-2.0

import Sessions
import Glibc
import IPAM
import KubeClient
import KubeObjects
import NetworkModel
import Values

/// `ipam check` and `ipam release`, in calicoctl's words. `catbird ipam check` tells more and mends.
extension Session {
    func ipamCheck() async throws {
        let client = try client()
        output("Checking IPAM for inconsistencies...\n\n")
        let world = try await ClusterAddresses(client).world
        let information = try await client.find(.clusterInformations, "default")
        let blocks = world.snapshot.blocks
        let networks = blocks.keys.sorted()
        output("Loading all IPAM blocks...\nFound \(blocks.count) IPAM blocks.\n")
        var used = 0
        for cidr in networks {
            guard let block = blocks[cidr] else { continue }
            used += block.usedCount
            output(" IPAM block \(cidr) affinity=\(block.affinity ?? "none"):\n")
        }
        output("IPAM blocks record \(used) allocations.\n\n")
        output("Loading all IPAM pools...\n")
        for pool in world.snapshot.pools { output("  \(pool.cidr)\n") }
        output("Found \(world.snapshot.pools.count) active IP pools.\n\n")
        output("Loading all nodes.\nFound \(world.snapshot.nodes.count) nodes.\n\n")
        output("Loading all workload endpoints.\nFound \(world.pods.count) workload endpoints.\n\n")
        output("Loading all handles\nFound \(world.handles.count) handles.\n\n")
        if arguments.flag("show-all-ips") {
            for cidr in networks {
                for (address, attribute) in blocks[cidr]?.assignments ?? [] {
                    output("  \(address) handle=\(attribute.handleID ?? "none") \(Self.holder(attribute.values))\n")
                }
            }
        }
        let report = CheckReport(world, information)
        output("Scanning for IPs that are allocated but not actually in use...\n")
        show(report.leaked)
        output("Found \(report.leaked.count) IPs that are allocated in IPAM but not actually in use.\n")
        output("Scanning for IPs that are in use by a workload or node but not allocated in IPAM...\n")
        show(report.unallocated)
        output(
            "Found \(report.unallocated.count) in-use IPs that are not in active IP pools or not allocated in IPAM.\n")
        output("Found \(report.outsidePools.count) in-use IPs that are not in active IP pools.\n\n")
        output("Scanning for IPAM handles with no matching IPs...\n")
        output(
            "Found \(report.strayHandles.count) handles with no matching IPs (and \(report.soundHandles) handles with matches).\n"
        )
        output("Scanning for IPs with missing handle...\n")
        output("Found \(report.missingHandles.count) handles mentioned in blocks with no matching handle resource.\n")
        for problem in report.invalid { output("  \(problem)\n") }
        output("Found \(report.invalid.count) invalid blocks.\n")
        output("Check complete; found \(report.total) problems.\n")
        if let path = arguments.value("output") {
            try Self.write(report.json.text(indent: 2) + "\n", to: path)
            output("Wrote report to \(path)\n")
        }
    }

    private func show(_ findings: [IPAMCheck.Finding]) {
        guard arguments.flag("show-problem-ips") || arguments.flag("show-all-ips") else { return }
        for finding in findings { output("  \(finding.sentence)\n") }
    }

    private static func holder(_ values: [String: String]) -> String {
        values["pod"].map { "pod \(values["namespace"] ?? "")/\($0)" } ?? values["type"] ?? ""
    }

    static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "wb") else {
            throw Failure("Failed to write \(path): \(String(cString: strerror(errno)))")
        }
        let bytes = Array(text.utf8)
        let written = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, written == bytes.count else {
            throw Failure("Failed to write \(path): \(String(cString: strerror(errno)))")
        }
    }

    // MARK: Release

    func ipamRelease() async throws {
        let client = try client()
        let book = AddressBook(store: ListedStore(client: client), node: "calicoctl")
        if let text = arguments.value("ip") {
            guard let address = IPAddress(text) else { throw Failure("invalid IP address specified: \(text)") }
            let outcomes = try await book.release([ReleaseItem(address: address)])
            guard outcomes.contains(where: { !$0.addresses.isEmpty }) else {
                throw Failure("IP address \(address) is not assigned")
            }
            output("Successfully released IP address \(address)\n")
            return
        }
        let paths = arguments.all("from-report")
        guard !paths.isEmpty else { return }
        var reports: [JSON] = []
        for path in paths {
            do { reports.append(try JSON(parsing: String(decoding: try Self.read(path), as: UTF8.self))) } catch let
                error as JSONParseError
            {
                throw Failure("unable to parse report \(path): \(error)")
            }
        }
        try await release(reports, paths, client, book)
    }

    /// What every report names: an address that was in use at the time of one of them is none that leaked.
    private func release(_ reports: [JSON], _ paths: [String], _ client: KubeClient, _ book: AddressBook) async throws {
        let information = try await client.find(.clusterInformations, "default")
        let guid = information?["spec"]["clusterGUID"].string ?? ""
        for (report, path) in zip(reports, paths) {
            guard report["clusterGUID"].string == guid else {
                throw Failure(
                    "report \(path) is of cluster \(report["clusterGUID"].string ?? "(none)"), and this is cluster \(guid): nothing was released"
                )
            }
        }
        if !arguments.flag("force") {
            for (report, path) in zip(reports, paths) where report["version"].string != Calicoctl.version {
                throw Failure(
                    "report \(path) was made by version \(report["version"].string ?? "(none)"), and this is \(Calicoctl.version): make one anew with 'calicoctl ipam check -o FILE', or use --force"
                )
            }
            let isLocked = information?["spec"]["datastoreReady"].bool == false
            guard isLocked else {
                throw Failure(
                    "the datastore is not locked: addresses may come into use while they are released. Lock it with 'calicoctl datastore migrate lock', or use --force"
                )
            }
            let revision = information?.resourceVersion ?? ""
            guard
                reports.contains(where: {
                    $0["clusterInformationRevision"].string == revision && $0["datastoreLocked"].bool == true
                })
            else {
                throw Failure(
                    "no report was made while the datastore is locked as it is now: make one with 'calicoctl ipam check -o FILE', or use --force"
                )
            }
        }
        var common: Set<ReleaseItem>?
        var handles: Set<String>?
        for report in reports {
            var items: Set<ReleaseItem> = []
            for (text, entries) in report["allocations"].object ?? [:] {
                guard let address = IPAddress(text) else { continue }
                for entry in entries.array ?? [] where entry["inUse"].bool == false {
                    items.insert(
                        ReleaseItem(
                            address: address, handleID: entry["handle"].string,
                            sequence: entry["sequenceNumber"].int.map { Int64($0) }))
                }
            }
            common = common.map { $0.intersection(items) } ?? items
            let stray = Set((report["leakedHandles"].array ?? []).compactMap { $0["id"].string })
            handles = handles.map { $0.intersection(stray) } ?? stray
        }
        let items = (common ?? []).sorted { ($0.address?.bits ?? 0) < ($1.address?.bits ?? 0) }
        output("Releasing \(items.count) old IPs...\n")
        let outcomes = try await book.release(items)
        var count = outcomes.reduce(0) { $0 + $1.addresses.count }
        output("Released \(count) IPs successfully\n")
        count = 0
        let world = try await ClusterAddresses(client).world
        for finding in IPAMCheck.check(world, now: .now) {
            guard case .deleteHandle(let handle) = finding.repair, handles?.contains(handle.handleID) == true else {
                continue
            }
            if try await book.repair(finding.repair) { count += 1 }
        }
        output("Released \(count) handles; \((handles?.count ?? 0) - count) skipped\n")
    }
}

/// What `ipam check -o FILE` writes and `ipam release --from-report FILE` reads.
private struct CheckReport {
    let leaked: [IPAMCheck.Finding]
    let unallocated: [IPAMCheck.Finding]
    let outsidePools: [IPAMCheck.Finding]
    let strayHandles: [IPAMHandle]
    let missingHandles: [IPAMCheck.Finding]
    let invalid: [String]
    let soundHandles: Int
    private let world: IPAMWorld
    private let information: KubeObject?

    init(_ world: IPAMWorld, _ information: KubeObject?) {
        let findings = Dictionary(grouping: IPAMCheck.check(world, now: .now), by: \.kind)
        leaked = findings[.leakedAddress] ?? []
        unallocated = findings[.unallocatedAddress] ?? []
        outsidePools = findings[.addressOutsidePools] ?? []
        missingHandles = findings[.missingHandle] ?? []
        strayHandles = (findings[.strayHandle] ?? []).compactMap {
            if case .deleteHandle(let handle) = $0.repair { handle } else { nil }
        }
        let kinds: [IPAMCheck.Kind] = [.unreadableObject, .lostAddress, .overlappingBlocks, .wrongBlockSize]
        invalid = kinds.flatMap { findings[$0] ?? [] }.map(\.sentence)
        soundHandles = world.handles.count - strayHandles.count
        self.world = world
        self.information = information
    }

    var total: Int {
        leaked.count + unallocated.count + outsidePools.count + strayHandles.count + missingHandles.count
            + invalid.count
    }

    var json: JSON {
        var free: Set<IPAddress> = []
        for finding in leaked {
            if case .release(_, let addresses) = finding.repair { free.formUnion(addresses) }
        }
        var allocations: JSON = [:]
        for block in world.snapshot.blocks.values {
            for (address, attribute) in block.assignments {
                var entry: JSON = [
                    "handle": JSON(attribute.handleID ?? ""), "inUse": JSON(!free.contains(address)),
                    "attrs": JSON(attribute.values), "block": JSON("\(block.cidr)"),
                ]
                if let ordinal = block.ordinal(of: address),
                    let sequence = block.sequenceNumberForAllocation["\(ordinal)"]
                {
                    entry["sequenceNumber"] = .int(sequence)
                }
                allocations["\(address)"] = [entry]
            }
        }
        let spec = information?["spec"]
        return [
            "version": JSON(Calicoctl.version), "clusterGUID": JSON(spec["clusterGUID"].string ?? ""),
            "datastoreLocked": JSON(spec["datastoreReady"].bool == false),
            "clusterInformationRevision": JSON(information?.resourceVersion ?? ""),
            "clusterType": JSON(spec["clusterType"].string ?? ""), "allocations": allocations,
            "leakedHandles": .array(
                strayHandles.map { ["id": JSON($0.handleID), "revision": JSON($0.object.resourceVersion)] }),
        ]
    }
}
