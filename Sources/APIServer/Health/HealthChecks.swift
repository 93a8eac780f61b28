// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import Storage
import Synchronization

/// A thing that must hold for the server to be well.
struct HealthCheck: Sendable {
    let name: String
    /// Throws why it does not hold.
    let run: @Sendable () async throws -> Void
}

/// Why a check does not hold.
struct HealthFailure: Error, CustomStringConvertible {
    let description: String
}

/// What the server has come to since it began.
final class Milestones: Sendable {
    enum Milestone: Sendable { case bootstrapRoles, shutdown }

    private let reached = Mutex<Set<Milestone>>([])

    func reach(_ milestone: Milestone) { reached.withLock { _ = $0.insert(milestone) } }
    func isReached(_ milestone: Milestone) -> Bool { reached.withLock { $0.contains(milestone) } }
}

extension APIServer {
    /// `/healthz`, `/livez` and `/readyz`, and each of their checks below them.
    func health(_ request: IncomingRequest, _ parts: [String]) async -> Reply {
        let kind = parts.first ?? "healthz"
        let checks = healthChecks(kind)
        guard parts.count > 1 else { return await health(request, kind, checks) }
        let name = parts.dropFirst().joined(separator: "/")
        guard let check = checks.first(where: { $0.name == name }) else { return .pathNotFound }
        do {
            try await check.run()
            return Self.plain("ok")
        } catch {
            return Self.plain("internal server error: \(error)\n", status: 500)
        }
    }

    /// All checks together. Reasons are told only by the single checks, for which one needs leave of their own.
    private func health(_ request: IncomingRequest, _ kind: String, _ checks: [HealthCheck]) async -> Reply {
        var excluded = Set(request.query.filter { $0.name == "exclude" }.map(\.value))
        var lines = ""
        var hasFailed = false
        for check in checks {
            if excluded.remove(check.name) != nil {
                lines += "[+]\(check.name) excluded: ok\n"
                continue
            }
            do {
                try await check.run()
                lines += "[+]\(check.name) ok\n"
            } catch {
                hasFailed = true
                lines += "[-]\(check.name) failed: reason withheld\n"
                logger.warning("\(kind) check failed", metadata: ["check": "\(check.name)", "reason": "\(error)"])
            }
        }
        if !excluded.isEmpty {
            let names = excluded.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
            lines += "warn: some health checks cannot be excluded: no matches for \(names)\n"
        }
        if hasFailed { return Self.plain("\(lines)\(kind) check failed\n", status: 500) }
        guard request.query("verbose") != nil else { return Self.plain("ok") }
        return Self.plain("\(lines)\(kind) check passed\n")
    }

    /// Before the store has been read nobody's rights are known, and the answer is no secret: the server is not ready.
    func healthBeforeStart(_ request: IncomingRequest, _ info: RequestInfo) async -> Reply? {
        let parts = info.path.split(separator: "/").map(String.init)
        guard Self.isHealthCheck(info), parts.count == 1 else { return nil }
        return await health(request, parts)
    }

    static func isHealthCheck(_ info: RequestInfo) -> Bool {
        !info.isResourceRequest
            && ["healthz", "livez", "readyz"].contains(info.path.split(separator: "/").first.map(String.init) ?? "")
    }

    private static func plain(_ text: String, status: Int = 200) -> Reply {
        var reply = Reply.text(text, status: status)
        reply.headers.append(("X-Content-Type-Options", "nosniff"))
        return reply
    }

    private func healthChecks(_ kind: String) -> [HealthCheck] {
        let storage = storage
        let mirror = mirror
        let milestones = milestones
        let store: @Sendable () async throws -> Void = {
            _ = try await storage.range(prefix: StorageKey.root, from: nil, limit: 1, at: nil)
        }
        var checks = [HealthCheck(name: "ping") {}, HealthCheck(name: "etcd", run: store)]
        if kind == "readyz" {
            checks.append(HealthCheck(name: "etcd-readiness", run: store))
            checks.append(
                HealthCheck(name: "informer-sync") {
                    guard mirror.isLoaded else { throw HealthFailure(description: "the store has not been read yet") }
                    guard mirror.isFollowing else { throw HealthFailure(description: "the store is not followed") }
                    do throws(StatusError) { try await mirror.caughtUp() } catch {
                        throw HealthFailure(description: error.message)
                    }
                })
        }
        checks.append(
            HealthCheck(name: "poststarthook/rbac/bootstrap-roles") {
                guard milestones.isReached(.bootstrapRoles) else {
                    throw HealthFailure(description: "the bootstrap roles are not there yet")
                }
            })
        if kind == "readyz" {
            checks.append(
                HealthCheck(name: "shutdown") {
                    if milestones.isReached(.shutdown) { throw HealthFailure(description: "process is shutting down") }
                })
        }
        return checks
    }
}
