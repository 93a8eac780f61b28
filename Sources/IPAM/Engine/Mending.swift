// SPDX-License-Identifier: Apache-2.0

public import NetworkModel
public import Values

/// Which of ``IPAMCheck``'s findings are put right without being asked: those in which handles and claims do not say
/// what the blocks say, for as long as no write that is under way would explain it.
public struct Mending: Sendable {
    /// Shorter than any write takes that somebody still waits for.
    public static let grace = 60.0

    private static let kinds: Set<IPAMCheck.Kind> = [
        .lostAddress, .missingClaim, .unconfirmedClaim, .claimOfAnothersBlock, .missingHandle, .wrongHandleCount,
    ]

    private var seen: [IPAMCheck.Finding: Timestamp] = [:]

    public init() {}

    /// The findings that have been there unchanged since a look at least ``grace`` ago.
    public mutating func due(_ world: IPAMWorld, now: Timestamp) -> [IPAMCheck.Finding] {
        guard !world.isLocked else { return [] }
        let found = IPAMCheck.check(world, now: now).filter { Self.kinds.contains($0.kind) }
        var current: [IPAMCheck.Finding: Timestamp] = [:]
        for finding in found {
            let since = seen[finding] ?? now
            // A clock that jumped back starts the grace anew.
            current[finding] = since > now ? now : since
        }
        seen = current
        return found.filter { now.seconds(since: current[$0] ?? now) >= Self.grace }
    }

    /// Whether there is something that the grace has to be waited for.
    public var isWaiting: Bool { !seen.isEmpty }
}
