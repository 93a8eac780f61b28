// SPDX-License-Identifier: Apache-2.0

import Sessions
import IPAM
import KubeClient
import KubeObjects
import NetworkModel
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
        let blocks = try await blocks(client)
        if arguments.flag("show-borrowed") { return showBorrowed(blocks) }
        let (pools, problems) = IPPool.read(try await client.list(.ipPools).items)
        for problem in problems { errors("Warning: \(problem)\n") }
        let reservations = try await client.list(.ipReservations).items.map { IPReservation($0) }
        showPools(pools, blocks, AddressRanges(reservations.flatMap(\.cidrs)))
    }

    /// By network, without those that are being deleted; of what is no block a warning tells.
    private func blocks(_ client: KubeClient) async throws -> [IPAMBlock] {
        var blocks: [IPAMBlock] = []
        for object in try await client.list(.ipamBlocks).items {
            do throws(IPAMObjectProblem) {
                let block = try IPAMBlock(object)
                if !block.isDeleted { blocks.append(block) }
            } catch { errors("Warning: \(error)\n") }
        }
        return blocks.sorted { $0.cidr < $1.cidr }
    }

    private func showPools(_ pools: [IPPool], _ blocks: [IPAMBlock], _ reservations: AddressRanges) {
        var table = FramedTable("GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS RESERVED", "IPS FREE")
        let showBlocks = arguments.flag("show-blocks")
        var rest = blocks
        for range in pools.map(\.cidr).sorted() {
            let own = blocks.filter { range.contains($0.cidr) }
            rest.removeAll { range.contains($0.cidr) }
            let used = own.reduce(UInt128(0)) { $0 + UInt128($1.usedCount) }
            table.rows.append(Self.row("IP Pool", range, used, reservations.count(in: range)))
            if showBlocks {
                for block in own {
                    table.rows.append(
                        Self.row("Block", block.cidr, UInt128(block.usedCount), reservations.count(in: block.cidr)))
                }
            }
        }
        if showBlocks {
            for block in rest {
                table.rows.append(Self.row("Block", block.cidr, UInt128(block.usedCount), 0))
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
        let block = BlockTable(try await blocks(client)).block(containing: address)
        guard let block, let owner = block.ordinal(of: address).flatMap(block.attribute) else {
            output("\(address) is not assigned\n")
            return
        }
        var lines = ["IP \(address) is in use", "Handle ID: \(owner.handleID ?? "<none>")", "Active Owner Attributes:"]
        for (key, value) in owner.values.sorted(by: { $0.key < $1.key }) { lines.append("  \(key): \(value)") }
        if !owner.alternateOwner.isEmpty {
            lines.append("Alternate Owner Attributes:")
            for (key, value) in owner.alternateOwner.sorted(by: { $0.key < $1.key }) {
                lines.append("  \(key): \(value)")
            }
        }
        output(lines.joined(separator: "\n") + "\n")
    }

    private func showBorrowed(_ blocks: [IPAMBlock]) {
        var table = FramedTable("IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO")
        for block in blocks {
            guard let node = block.node else { continue }
            for (address, owner) in block.assignments {
                guard let holder = owner.values["node"], holder != node else { continue }
                let pod = owner.values["pod"].map { "\(owner.values["namespace"] ?? "")/\($0)" }
                table.rows.append([
                    "\(address)", holder, "\(block.cidr)", node, pod == nil ? owner.values["type"] ?? "" : "pod",
                    pod ?? owner.handleID ?? "",
                ])
            }
        }
        output(table.text)
    }

    private func showConfiguration(_ client: KubeClient) async throws {
        let stored = try await client.find(.ipamConfigs, "default")
        let config = stored.map { IPAMConfig($0) } ?? IPAMConfig()
        var table = FramedTable("PROPERTY", "VALUE")
        table.rows = [
            ["StrictAffinity", "\(config.strictAffinity)"], ["AutoAllocateBlocks", "\(config.autoAllocateBlocks)"],
            // As stored: 0 stands for the limit that holds when none is set.
            ["MaxBlocksPerHost", "\(stored?["spec"]["maxBlocksPerHost"].int ?? 0)"],
            [
                "KubeVirtVMAddressPersistence", config.keepsVirtualMachineAddresses ? "Enabled" : "Disabled",
            ],
            ["IPCooldownSeconds", "\(config.cooldownSeconds)"],
        ]
        output(table.text)
    }
}
