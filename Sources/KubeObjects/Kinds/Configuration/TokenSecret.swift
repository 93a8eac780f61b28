// SPDX-License-Identifier: Apache-2.0

public import Values

/// Secrets that hold the token of a service account, and the labels that say whether anybody uses them.
public enum TokenSecret {
    public static let type = "kubernetes.io/service-account-token"
    /// The day on which the token was last shown to the API server.
    public static let lastUsed = "kubernetes.io/legacy-token-last-used"
    /// The day since which the token is not accepted any more.
    public static let invalidSince = "kubernetes.io/legacy-token-invalid-since"

    /// Whether the account refers to the Secret: of those that Kubernetes made by itself before 1.24 this is the mark,
    /// as accounts do not refer to what users make.
    public static func isGenerated(_ secret: KubeObject, for account: KubeObject) -> Bool {
        (account["secrets"].array ?? []).contains { $0["name"].string == secret.name }
    }

    /// The day of a moment in UTC, as the labels have it: `2026-11-23`.
    public static func day(of moment: Timestamp) -> String { String(moment.description.prefix(10)) }

    /// When a day begins; nil for a text that is no day.
    public static func start(ofDay day: String) -> Timestamp? {
        guard let moment = Timestamp("\(day)T00:00:00Z"), Self.day(of: moment) == day else { return nil }
        return moment
    }
}
