// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// The numbers of Services' ports in marks, the same on every node and after every start as long as no two ports' names
/// come to the same: connections and affinities outlive the process that numbered them.
struct PortNumbers: Sendable {
    struct Owner: Sendable, Hashable {
        let service: ObjectKey
        let name: String
        let transport: ServicePort.TransportProtocol

        init(_ port: ServicePort) {
            service = port.service
            name = port.name
            transport = port.transport
        }
    }

    private let bits: Int
    private var numbers: [Owner: UInt32] = [:]
    private var owners: [UInt32: Owner] = [:]

    /// - Parameter bits: 1 to 28; two ports at a time must have room.
    init(bits: Int) { self.bits = min(max(bits, 1), 28) }

    subscript(port: ServicePort) -> UInt32? { numbers[Owner(port)] }

    func owner(of number: UInt32) -> Owner? { owners[number] }

    /// Numbers a port, if it is not.
    mutating func take(_ port: ServicePort) {
        let owner = Owner(port)
        guard numbers[owner] == nil else { return }
        let count = UInt32(1) << UInt32(bits)
        var number = Self.digest(owner) & (count - 1)
        // The next that is free, of which there are 268 million; zero is no number.
        while number == 0 || owners[number << 4] != nil { number = (number + 1) & (count - 1) }
        numbers[owner] = number << 4
        owners[number << 4] = owner
    }

    mutating func release(_ port: ServicePort) {
        guard let number = numbers.removeValue(forKey: Owner(port)) else { return }
        owners[number] = nil
    }

    private static func digest(_ owner: Owner) -> UInt32 {
        let text = "\(owner.service.namespace ?? "")/\(owner.service.name)/\(owner.name)/\(owner.transport.rawValue)"
        let sum = text.utf8.reduce(UInt64(0)) { SlotTable.mix($0 ^ UInt64($1)) }
        return UInt32(truncatingIfNeeded: sum >> 32)
    }
}
