// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Objects that are written again and again.
enum WriteJudgement {
    /// Writes a second of one object that nobody who reads them needs. A pod that starts is written some five times.
    static let tooOften = 20.0

    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        cluster.writes.filter { $0.seconds > 0 && Double($0.count) / $0.seconds >= tooOften }
            .sorted { ($1.count, $0.kind, $0.key) < ($0.count, $1.kind, $1.key) }
            .map { write in
                Finding(
                    "WritesTooOften", object: "\(write.kind) \(write.key)",
                    problem: "is written again and again: each write is kept, and wakes whoever watches",
                    cause:
                        "\(write.count) writes in \(write.seconds < 1 ? "less than 1" : "\(Int(write.seconds.rounded(.up)))") s"
                        + (write.writer.map { ", the last by \($0)" } ?? ""),
                    nextStep: "kubectl get \(write.kind) \(write.key.name)"
                        + (write.key.namespace.map { " -n \($0)" } ?? "") + " -o yaml --show-managed-fields")
            }
    }
}
