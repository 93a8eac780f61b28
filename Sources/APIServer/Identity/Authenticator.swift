// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeClient
import KubeObjects
import Logging
import Values

extension APIServer {
    /// Who makes a request.
    struct Caller {
        var user: UserInfo
        /// What they should hear about how they show who they are.
        var warning: String?
    }

    /// Throws 401 when a credential is given and not accepted. Without one the caller is anonymous.
    func authenticate(_ request: IncomingRequest) async throws(StatusError) -> Caller {
        switch request.origin {
        case .inProcess(let user): return Caller(user: user)
        case .connection(let certificate):
            // As upstream tries them: who shows a certificate is whom it names, whatever else comes with it.
            if let certificate, !certificate.commonName.isEmpty {
                return Caller(
                    user: UserInfo(
                        certificate.commonName, groups: certificate.organizations + [UserInfo.Group.authenticated]))
            }
            if let header = request.header("authorization"), header.lowercased().hasPrefix("bearer ") {
                return try await bearer(String(header.dropFirst("bearer ".count)).trimmingSpaces())
            }
            if let offer = try WebSocketToken(request) { return try await bearer(offer.token) }
            return Caller(user: .anonymous)
        }
    }

    private func bearer(_ token: String) async throws(StatusError) -> Caller {
        do {
            let known = try await verified(token, audiences: [configuration.issuer])
            return Caller(user: known.user, warning: known.warning)
        } catch {
            throw .unauthorized()
        }
    }

    /// What a token says; the Secret that holds it, if one does, then says that it was used today.
    func verified(
        _ token: String, audiences: [String]
    ) async throws(ServiceAccountTokens.Rejection) -> ServiceAccountTokens.Verified {
        let now = Timestamp.now
        do throws(ServiceAccountTokens.Rejection) {
            let known = try tokens.verify(token, audiences: audiences, now: now)
            if let secret = known.secret { await noteUse(of: secret, now) }
            return known
        } catch {
            if let secret = error.secret { await noteUse(of: secret, now) }
            throw error
        }
    }

    /// Writes the day into the Secret's label, unless it is there already: once a day for each token.
    private func noteUse(of secret: KubeObject, _ now: Timestamp) async {
        let today = TokenSecret.day(of: now)
        // Another server's clock may be ahead of ours.
        let known = [today, TokenSecret.day(of: now.adding(seconds: 86400))]
        if let day = secret.labels[TokenSecret.lastUsed], known.contains(day) { return }
        let transport = inProcessTransport(user: "system:apiserver", groups: [UserInfo.Group.masters])
        do {
            try await KubeClient(transport, userAgent: "kube-apiserver").patch(
                .secrets, secret.name, in: secret.namespace, type: .merge,
                ["metadata": ["uid": JSON(secret.uid), "labels": .object([TokenSecret.lastUsed: JSON(today)])]])
        } catch {
            // The bearer is who they are all the same, and the next use is noted.
            logger.warning(
                "the use of a token was not noted",
                metadata: ["secret": "\(secret.namespace ?? "")/\(secret.name)", "error": "\(error)"])
        }
    }
}
