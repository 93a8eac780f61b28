// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization
import Values

/// What the last tokens that were accepted said.
///
/// A client sends the same token with each request, and checking its signature costs more than reading an object. What
/// a token is bound to is looked up each time all the same: it may be gone.
final class VerifiedTokens: Sendable {
    struct Entry: Sendable {
        let user: UserInfo
        let audiences: [String]
        /// The account, and what else the token is bound to, as they were when the token was checked.
        let boundTo: [StoredObject]
        /// Seconds since 1970, as in the token.
        let notBefore: Int64?
        let expiry: Int64?

        /// Whether checking the token again would come to the same.
        func holds(_ mirror: Mirror, _ now: Timestamp) -> Bool {
            if let expiry, now.seconds >= expiry { return false }
            if let notBefore, now.seconds < notBefore { return false }
            return boundTo.allSatisfy { mirror.object($0) === $0 }
        }
    }

    private let entries = Mutex<[String: Entry]>([:])
    /// As many tokens as a cluster's clients have; with more of them all are checked anew.
    private static let limit = 4096

    subscript(token: String) -> Entry? {
        get { entries.withLock { $0[token] } }
        set {
            entries.withLock { entries in
                if entries.count >= Self.limit { entries.removeAll() }
                entries[token] = newValue
            }
        }
    }
}
