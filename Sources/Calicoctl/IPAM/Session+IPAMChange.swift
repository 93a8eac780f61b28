// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
import KubeClient
import KubeObjects
import NetworkModel
import Values

/// `ipam configure` and `ipam split`.
extension Session {
    func ipamConfigure() async throws {
        var change: JSON = [:]
        var told: [String] = []
        if let text = arguments.value("strictaffinity") {
            let value = try Self.boolean(text, "strictaffinity")
            change["strictAffinity"] = JSON(value)
            told.append("Successfully set StrictAffinity to: \(value)")
        }
        if let limit = try number("max-blocks-per-host", 0...Int(Int32.max)) {
            change["maxBlocksPerHost"] = JSON(limit)
            told.append("Successfully set MaxBlocksPerHost to: \(limit)")
        }
        if let text = arguments.value("kubevirt-ip-persistence") {
            guard ["Enabled", "Disabled"].contains(text) else {
                throw Failure("Invalid value for --kubevirt-ip-persistence: '\(text)'. It must be Enabled or Disabled")
            }
            change["kubeVirtVMAddressPersistence"] = JSON(text)
            told.append("Successfully set KubeVirtVMAddressPersistence to: \(text)")
        }
        if let seconds = try number("ip-cooldown-seconds", 0...1200) {
            change["ipCooldownSeconds"] = JSON(seconds)
            told.append("Successfully set IPCooldownSeconds to: \(seconds)")
        }
        guard !told.isEmpty else {
            throw Failure(
                "ipam configure needs --strictaffinity=<true|false>, --max-blocks-per-host=N, --kubevirt-ip-persistence=<Enabled|Disabled> or --ip-cooldown-seconds=N"
            )
        }
        let client = try client()
        for attempt in 1...5 {
            let current = try await client.find(.ipamConfigs, "default")
            var object =
                current
                ?? KubeObject([
                    "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMConfig", "metadata": ["name": "default"],
                    "spec": ["strictAffinity": false, "autoAllocateBlocks": true],
                ])
            for (key, value) in change.object ?? [:] { object["spec"][key] = value }
            let errors = IPAMValidation.config(object)
            guard errors.isEmpty else { throw Failure(errors.map(\.description).joined(separator: "; ")) }
            do {
                if current == nil {
                    try await client.create(.ipamConfigs, object)
                } else {
                    try await client.update(.ipamConfigs, object)
                }
                break
            } catch let error as APIError where (error.isConflict || error.isAlreadyExists) && attempt < 5 {
                continue
            }
        }
        output(told.joined(separator: "\n") + "\n")
    }

    private static func boolean(_ text: String, _ option: String) throws -> Bool {
        switch text.lowercased() {
        case "true", "yes", "on", "1", "enabled": return true
        case "false", "no", "off", "0", "disabled": return false
        default: throw Failure("Invalid value. Use true or false to set \(option), not '\(text)'")
        }
    }

    /// One pool becomes a power of two of smaller ones with the same settings: its blocks stay where they are.
    func ipamSplit() async throws {
        guard arguments.words.count == 3, let count = Int(arguments.words[2]) else {
            throw Failure("ipam split takes the number of parts and --cidr=CIDR or --name=POOL")
        }
        guard count > 1, count <= 65_536, count & (count - 1) == 0 else {
            throw Failure("number of splits \(count) is not a power of 2 greater than 1")
        }
        let name = arguments.value("name")
        let network = arguments.value("cidr")
        guard (name == nil) != (network == nil) else {
            throw Failure("name the pool with either --cidr=CIDR or --name=POOL")
        }
        let client = try client()
        let information = try await client.find(.clusterInformations, "default")
        guard information?["spec"]["datastoreReady"].bool == false else {
            throw Failure(
                "IP pools are not splittable while the datastore is not locked: lock it with 'calicoctl datastore migrate lock'"
            )
        }
        let pools = try await client.list(.ipPools).items
        guard
            let pool = pools.first(where: {
                name == $0.name
                    || (network != nil
                        && $0["spec"]["cidr"].string.flatMap { CIDR($0) }?.network.description == network)
            })
        else { throw Failure("Unable to find IP pool \(name ?? network ?? "")") }
        let parts = try Self.parts(of: pool, count)
        try await client.delete(.ipPools, pool.name, uid: pool.uid)
        for (index, part) in parts.enumerated() {
            do { try await client.create(.ipPools, part) } catch {
                // The addresses in use must not be without a pool: what is there makes way for the old one again.
                for done in parts[..<index] { try await client.delete(.ipPools, done.name) }
                try await client.create(.ipPools, Self.renewed(pool))
                throw Failure("Unable to create pool \(part.name): \(error). Pool \(pool.name) is as it was")
            }
        }
        output("Successfully split pool \(pool.name) into \(count) IP pools:\n")
        for part in parts { output("  \(part.name) \(part["spec"]["cidr"].string ?? "")\n") }
    }

    private static func parts(of pool: KubeObject, _ count: Int) throws -> [KubeObject] {
        guard let cidr = pool["spec"]["cidr"].string.flatMap({ CIDR($0) }) else {
            throw Failure("pool \(pool.name) has no network that could be split")
        }
        let length = cidr.prefixLength + count.trailingZeroBitCount
        let size = pool["spec"]["blockSize"].int.flatMap { $0 == 0 ? nil : $0 } ?? IPPool.defaultBlockSize(cidr.family)
        guard length <= size else {
            throw Failure(
                "pool \(pool.name) (\(cidr)) cannot be split into \(count): a part would be a /\(length), smaller than its blocks of /\(size)"
            )
        }
        return try (0..<count).map { index in
            guard let first = cidr[UInt128(index) << UInt128(cidr.family.bitWidth - length)],
                let part = CIDR(first, length)
            else { throw Failure("pool \(pool.name) (\(cidr)) cannot be split into \(count)") }
            var object = renewed(pool)
            object.metadata["name"] = JSON("split-\(pool.name)-\(index)")
            object["spec"]["cidr"] = JSON("\(part)")
            return object
        }
    }

    /// The pool as it is created anew.
    private static func renewed(_ pool: KubeObject) -> KubeObject {
        var object = pool
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            object.metadata[key] = nil
        }
        object["status"] = nil
        return object
    }
}
