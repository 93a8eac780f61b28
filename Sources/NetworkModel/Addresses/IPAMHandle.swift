// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// An IPAMHandle: in which blocks the addresses of one holder lie, so that they are found again to be released.
public struct IPAMHandle: Sendable, Hashable {
    public var object: KubeObject
    public let handleID: String
    /// How many addresses of each block, by the block's network.
    public private(set) var blocks: [String: Int]

    public init(handleID: String) {
        object = KubeObject(.ipamHandles, kind: "IPAMHandle", name: IPAMNames.handle(handleID))
        self.handleID = handleID
        blocks = [:]
    }

    public init(_ object: KubeObject) {
        self.object = object
        handleID = object["spec"]["handleID"].string ?? object.name
        blocks = [:]
        for (key, value) in object["spec"]["block"].object ?? [:] {
            if let count = value.int, count > 0 { blocks[key] = count }
        }
    }

    public var isEmpty: Bool { blocks.isEmpty }

    public mutating func increment(_ block: CIDR, by count: Int = 1) {
        blocks["\(block)", default: 0] &+= count
    }

    public mutating func decrement(_ block: CIDR, by count: Int) {
        let left = (blocks["\(block)"] ?? 0) &- count
        blocks["\(block)"] = left > 0 ? left : nil
    }

    public func encoded() -> KubeObject {
        var object = object
        var spec = object["spec"] ?? .object([:])
        spec["handleID"] = JSON(handleID)
        spec["block"] = .object(JSONObject(blocks.sorted { $0.key < $1.key }.map { ($0.key, JSON($0.value)) }))
        spec["deleted"] = spec["deleted"] ?? false
        object["spec"] = spec
        return object
    }
}
