// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeClient
import KubeObjects
import Values

extension Session {
    func ipam() async throws {
        switch arguments.words.dropFirst().first {
        case "show": try await ipamShow()
        case "check": try await ipamCheck()
        case "release": try await ipamRelease()
        case "configure": try await ipamConfigure()
        case "split": try await ipamSplit()
        case let other:
            throw Failure(
                "calicoctl ipam \(other ?? "") is not known. Use: ipam show | check | release | configure | split")
        }
    }

    private func ipamShow() async throws {
        let client = try client()
        if let text = arguments.value("ip") { return try await show(ip: text, client) }
        if arguments.flag("show-configuration") { return try await showConfiguration(client) }
        let blocks = try await client.list(.ipamBlocks).items.compactMap(BlockUse.init).sorted { $0.cidr < $1.cidr }
        if arguments.flag("show-borrowed") { return showBorrowed(blocks) }
        let pools = try await client.list(.ipPools).items
        let reservations = try await client.list(.ipReservations).items
        showPools(pools, blocks, Reservations(reservations))
    }

    private func showPools(_ pools: [KubeObject], _ blocks: [BlockUse], _ reservations: Reservations) {
        var table = FramedTable("GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS RESERVED", "IPS FREE")
        let showBlocks = arguments.flag("show-blocks")
        var rest = blocks
        let ranges = pools.compactMap { $0["spec"]["cidr"].string.flatMap { CIDR($0)?.network } }.sorted()
        for range in ranges {
            let own = blocks.filter { range.contains($0.cidr) }
            rest.removeAll { range.contains($0.cidr) }
            let used = own.reduce(UInt128(0)) { $0 + UInt128($1.used.count) }
            table.rows.append(Self.row("IP Pool", range, used, reservations.count(in: range)))
            if showBlocks {
                for block in own {
                    table.rows.append(
                        Self.row("Block", block.cidr, UInt128(block.used.count), reservations.count(in: block.cidr)))
                }
            }
        }
        if showBlocks {
            for block in rest {
                table.rows.append(Self.row("Block", block.cidr, UInt128(block.used.count), 0))
            }
        }
        output(table.text)
    }

    private static func row(_ grouping: String, _ cidr: CIDR, _ used: UInt128, _ reserved: UInt128) -> [String] {
        let total = cidr.count
        let free = total > used + reserved ? total - used - reserved : 0
        let cell = { (count: UInt128) in "\(digits(count)) (\(percent(count, of: total))%)" }
        return [grouping, "\(cidr)", digits(total), cell(used), cell(reserved), cell(free)]
    }

    /// Five significant digits, as Go's `%.5g` prints them.
    static func digits(_ count: UInt128) -> String {
        if count < 100_000 { return "\(count)" }
        let text = String(count)
        var exponent = text.count - 1
        let first = text.prefix(6)
        guard var mantissa = Int(first) else { return text }
        mantissa = (mantissa + 5) / 10
        if mantissa >= 100_000 {
            mantissa /= 10
            exponent += 1
        }
        var decimals = String(mantissa)
        let lead = decimals.removeFirst()
        while decimals.last == "0" { decimals.removeLast() }
        return "\(lead)\(decimals.isEmpty ? "" : ".\(decimals)")e+\(exponent < 10 ? "0" : "")\(exponent)"
    }

    private static func percent(_ count: UInt128, of total: UInt128) -> Int {
        Int((Double(count) / Double(total) * 100).rounded())
    }

    private func show(ip text: String, _ client: KubeClient) async throws {
        guard let address = IPAddress(text) else { throw Failure("invalid IP address specified: \(text)") }
        let blocks = try await client.list(.ipamBlocks).items.compactMap(BlockUse.init)
        guard let block = blocks.first(where: { $0.cidr.contains(address) }), let owner = block.used[address] else {
            output("\(address) is not assigned\n")
            return
        }
        var lines = ["IP \(address) is in use", "Handle ID: \(owner.handle ?? "<none>")", "Active Owner Attributes:"]
        for (key, value) in owner.attributes.sorted(by: { $0.key < $1.key }) { lines.append("  \(key): \(value)") }
        if !owner.alternate.isEmpty {
            lines.append("Alternate Owner Attributes:")
            for (key, value) in owner.alternate.sorted(by: { $0.key < $1.key }) { lines.append("  \(key): \(value)") }
        }
        output(lines.joined(separator: "\n") + "\n")
    }

    private func showBorrowed(_ blocks: [BlockUse]) {
        var table = FramedTable("IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO")
        for block in blocks {
            guard let node = block.node else { continue }
            for (address, owner) in block.used.sorted(by: { $0.key < $1.key }) {
                guard let holder = owner.attributes["node"], holder != node else { continue }
                let pod = owner.attributes["pod"].map { "\(owner.attributes["namespace"] ?? "")/\($0)" }
                table.rows.append([
                    "\(address)", holder, "\(block.cidr)", node, pod == nil ? owner.attributes["type"] ?? "" : "pod",
                    pod ?? owner.handle ?? "",
                ])
            }
        }
        output(table.text)
    }

    private func showConfiguration(_ client: KubeClient) async throws {
        var spec: JSON = [:]
        do { spec = try await client.get(.ipamConfigs, "default")["spec"] ?? [:] } catch let error as APIError
            where error.isNotFound
        {
            spec = [:]
        }
        var table = FramedTable("PROPERTY", "VALUE")
        table.rows = [
            ["StrictAffinity", spec["strictAffinity"].bool == true ? "true" : "false"],
            ["AutoAllocateBlocks", spec["autoAllocateBlocks"].bool == false ? "false" : "true"],
            ["MaxBlocksPerHost", "\(spec["maxBlocksPerHost"].int ?? 0)"],
            ["KubeVirtVMAddressPersistence", spec["kubeVirtVMAddressPersistence"].string ?? "Enabled"],
            ["IPCooldownSeconds", "\(spec["ipCooldownSeconds"].int ?? 0)"],
        ]
        output(table.text)
    }
}

/// What one IPAM block says of its addresses.
struct BlockUse: Sendable {
    struct Owner: Sendable {
        let handle: String?
        let attributes: [String: String]
        /// Who takes the address over, as KubeVirt's migrations write it.
        let alternate: [String: String]
    }

    let cidr: CIDR
    /// The node that the block belongs to.
    let node: String?
    let used: [IPAddress: Owner]

    init?(_ block: KubeObject) {
        guard let cidr = block["spec"]["cidr"].string.flatMap({ CIDR($0) }), block["spec"]["deleted"].bool != true
        else {
            return nil
        }
        self.cidr = cidr
        node = block["spec"]["affinity"].string.flatMap { $0.hasPrefix("host:") ? String($0.dropFirst(5)) : nil }
        let attributes = block["spec"]["attributes"].array ?? []
        var used: [IPAddress: Owner] = [:]
        for (ordinal, allocation) in (block["spec"]["allocations"].array ?? []).enumerated() {
            guard let index = allocation.int, let address = cidr[UInt128(ordinal)] else { continue }
            let attribute = attributes.indices.contains(index) ? attributes[index] : .null
            used[address] = Owner(
                handle: attribute["handle_id"].string, attributes: attribute["secondary"].object?.strings ?? [:],
                alternate: attribute["alternateOwnerAttrs"].object?.strings ?? [:])
        }
        self.used = used
    }
}

/// Addresses that IPReservations keep out of use.
struct Reservations: Sendable {
    private let ranges: [CIDR]

    init(_ objects: [KubeObject]) {
        let all = objects.flatMap { $0["spec"]["reservedCIDRs"].array ?? [] }.compactMap { value -> CIDR? in
            value.string.flatMap { text in CIDR(text)?.network ?? IPAddress(text).map { CIDR(host: $0) } }
        }
        // A range inside another one counts once.
        ranges = Set(all).filter { range in !all.contains { $0 != range && $0.contains(range) } }.sorted()
    }

    func count(in network: CIDR) -> UInt128 {
        ranges.reduce(0) { sum, range in
            network.contains(range) ? sum + range.count : range.contains(network) ? network.count : sum
        }
    }
}
