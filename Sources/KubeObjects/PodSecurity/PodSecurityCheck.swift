// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a pod does that a standard forbids.
public struct PodSecurityViolation: Sendable, Hashable {
    /// `host namespaces`
    public let reason: String
    /// `hostNetwork=true`; may be empty.
    public let detail: String
}

/// A pod as the checks look at it.
struct PodSecuritySubject {
    let annotations: [String: String]
    let spec: JSON?
    /// Containers of all lists.
    let containers: [JSON]

    init(annotations: [String: String], spec: JSON?) {
        self.annotations = annotations
        self.spec = spec
        containers = ["initContainers", "containers", "ephemeralContainers"].flatMap { spec[$0].array ?? [] }
    }

    var isWindows: Bool { spec["os"]["name"].string == "windows" }
    /// Root within a user namespace is nobody outside of it.
    var hasOwnUsers: Bool { spec["hostUsers"].bool == false }

    /// The names of the containers of which something holds.
    func names(where holds: (JSON) -> Bool) -> [String] {
        containers.filter(holds).map { $0["name"].string ?? "" }
    }

    /// The pod and the containers whose `securityContext` something holds of: `pod and container "a"`.
    func setters(where holds: (JSON?) -> Bool) -> [String] {
        var setters: [String] = []
        if holds(spec["securityContext"]) { setters.append("pod") }
        let names = names { holds($0["securityContext"]) }
        if !names.isEmpty { setters.append(PodSecurityText.containers(names)) }
        return setters
    }
}

/// Pieces of messages.
enum PodSecurityText {
    static func plural(_ one: String, _ many: String, _ count: Int) -> String { count == 1 ? one : many }

    static func quoted(_ texts: [String]) -> String { texts.map { "\"\($0)\"" }.joined(separator: ", ") }

    static func containers(_ names: [String]) -> String {
        "\(plural("container", "containers", names.count)) \(quoted(names))"
    }
}

/// One thing that pods of a level must not do, or must do.
struct PodSecurityCheck: Sendable {
    typealias Judge = @Sendable (PodSecuritySubject) -> PodSecurityViolation?

    let id: String
    let level: PodSecurityLevel
    /// The check as it was from a minor version on, the oldest first.
    let revisions: [(since: Int, judge: Judge)]
    /// Checks of the level below that say less of the same.
    var replaces: [String] = []

    func judge(_ minor: Int?) -> Judge? {
        revisions.last { minor.map { [since = $0.since] in since <= $0 } ?? true }?.judge
    }

    static let all = baseline + restricted
}

/// The judgement of pods by a standard.
public enum PodSecurity {
    /// What a pod, or the pods of a template, would break.
    public static func violations(
        _ standard: PodSecurityStandard, annotations: [String: String], spec: JSON?
    ) -> [PodSecurityViolation] {
        guard standard.level != .privileged else { return [] }
        let subject = PodSecuritySubject(annotations: annotations, spec: spec)
        var judges: [(id: String, judge: PodSecurityCheck.Judge)] = []
        var replaced = Set<String>()
        if standard.level == .restricted {
            for check in PodSecurityCheck.restricted where check.judge(standard.minor) != nil {
                replaced.formUnion(check.replaces)
            }
        }
        for check in PodSecurityCheck.all where check.level <= standard.level && !replaced.contains(check.id) {
            if let judge = check.judge(standard.minor) { judges.append((check.id, judge)) }
        }
        return judges.compactMap { $0.judge(subject) }
    }

    /// `host namespaces (hostNetwork=true), privileged (…)`
    public static func details(_ violations: [PodSecurityViolation]) -> String {
        violations.map { $0.detail.isEmpty ? $0.reason : "\($0.reason) (\($0.detail))" }.joined(separator: ", ")
    }

    /// `host namespaces, privileged`
    public static func reasons(_ violations: [PodSecurityViolation]) -> String {
        violations.map(\.reason).joined(separator: ", ")
    }
}
