// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The bearer token of a client; one that lives in a file is read again every minute, since kubelets renew it there.
final class TokenSource: Sendable {
    private struct Cached {
        var token: String
        var readAt: ContinuousClock.Instant
    }

    private let fixed: String?
    private let file: String?
    private let cached = Mutex<Cached?>(nil)

    init(token: String?, file: String?) {
        fixed = token
        self.file = file
    }

    /// Nil when the client has no token. Throws when the file cannot be read and never could.
    func current() throws -> String? {
        guard fixed == nil, let file else { return fixed }
        return try cached.withLock { cached in
            if let cached, ContinuousClock.now - cached.readAt < .seconds(60) { return cached.token }
            do {
                let token = try Files.text(file).trimmed
                cached = Cached(token: token, readAt: .now)
                return token
            } catch {
                guard let token = cached?.token else { throw error }
                return token
            }
        }
    }

    /// After a refusal: the file's token, if it is another by now.
    func renewed() throws -> String? {
        guard fixed == nil, let file else { return nil }
        let token = try Files.text(file).trimmed
        return cached.withLock { cached in
            defer { cached = Cached(token: token, readAt: .now) }
            return cached?.token == token ? nil : token
        }
    }
}
