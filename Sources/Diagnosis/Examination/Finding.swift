// SPDX-License-Identifier: Apache-2.0

public import Values

/// One thing that is wrong.
public struct Finding: Sendable, Hashable {
    /// What kind of thing is wrong, in one word that never changes: for scripts. docs/doctor.md lists them.
    public let reason: String
    /// `service default/web`
    public let object: String
    public let problem: String
    public let cause: String
    /// A command to type, or a thing to change.
    public let nextStep: String

    public init(_ reason: String, object: String, problem: String, cause: String, nextStep: String) {
        self.reason = reason
        self.object = object
        self.problem = problem
        self.cause = cause
        self.nextStep = nextStep
    }

    public var json: JSON {
        [
            "reason": JSON(reason), "object": JSON(object), "problem": JSON(problem), "cause": JSON(cause),
            "nextStep": JSON(nextStep),
        ]
    }
}

/// Where findings come from: each source looks at one kind of thing. Whoever knows of another kind adds a source.
public protocol FindingSource: Sendable {
    /// What is wrong, as far as this source can see. A source that cannot look says that as a finding.
    func findings(in cluster: ClusterSnapshot) async -> [Finding]
}
