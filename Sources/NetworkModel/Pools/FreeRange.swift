// SPDX-License-Identifier: Apache-2.0

public import Values

/// Finds ranges that nothing uses, to suggest them.
public enum FreeRange {
    /// What clusters of this kind use for something else than pods: the usual service range, racks of nodes, Docker.
    static let customary: [CIDR] = [
        "10.96.0.0/12", "192.168.48.0/20", "172.17.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/8",
        "224.0.0.0/3", "fe80::/10", "ff00::/8", "::/64",
    ].compactMap { CIDR($0) }

    private static let privateRanges: [CIDR] = ["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "fd00::/8"]
        .compactMap { CIDR($0) }

    /// A network of the same size as `wanted` that overlaps none of `used`: `wanted` itself when it is free, else the
    /// next free one of the same private range, else of another.
    public static func suggestion(like wanted: CIDR, avoiding used: [CIDR]) -> CIDR? {
        let wanted = wanted.network
        let taken = used + customary
        if let free = next(from: wanted.first, within: wanted, length: wanted.prefixLength, taken: taken) {
            return free
        }
        let ranges = privateRanges.filter { $0.family == wanted.family && $0.prefixLength <= wanted.prefixLength }
        let own = ranges.filter { $0.contains(wanted) }
        for range in own {
            if let free = next(from: wanted.first, within: range, length: wanted.prefixLength, taken: taken) {
                return free
            }
        }
        for range in own + ranges {
            if let free = next(from: range.first, within: range, length: wanted.prefixLength, taken: taken) {
                return free
            }
        }
        return nil
    }

    /// The first free network of `length` at or after `start`: steps over each taken range as a whole.
    private static func next(from start: IPAddress, within range: CIDR, length: Int, taken: [CIDR]) -> CIDR? {
        var start: IPAddress? = start
        while let current = start, range.contains(current), let candidate = CIDR(current, length)?.network {
            guard let obstacle = taken.first(where: { $0.overlaps(candidate) }) else { return candidate }
            let end = obstacle.contains(candidate) ? obstacle.last : candidate.last
            start = end.advanced(by: 1)
        }
        return nil
    }
}
