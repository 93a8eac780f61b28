// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import Values

/// Finds out who makes a request.
struct Authenticator: Sendable {
    let tokens: ServiceAccountTokens
    let audiences: [String]

    /// Throws 401 when a credential is given and not accepted. Without one the caller is anonymous.
    func authenticate(_ request: IncomingRequest) async throws(StatusError) -> UserInfo {
        switch request.origin {
        case .inProcess(let user): return user
        case .connection(let certificate):
            if let header = request.header("authorization"), header.lowercased().hasPrefix("bearer ") {
                return try await bearer(String(header.dropFirst("bearer ".count)).trimmingSpaces())
            }
            if let certificate, !certificate.commonName.isEmpty {
                return UserInfo(
                    certificate.commonName, groups: certificate.organizations + [UserInfo.Group.authenticated])
            }
            return .anonymous
        }
    }

    private func bearer(_ token: String) async throws(StatusError) -> UserInfo {
        // What the token is bound to may just have been made.
        await tokens.mirror.caughtUp()
        do {
            return try tokens.verify(token, audiences: audiences, now: .now).user
        } catch {
            throw .unauthorized()
        }
    }
}
