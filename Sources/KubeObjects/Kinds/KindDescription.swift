// SPDX-License-Identifier: Apache-2.0

public import Values

/// Everything special about one kind: what is filled in, what is refused, how it is shown and how it is written.
///
/// A file of this folder describes a kind, and nothing about a kind stands anywhere else. What a description leaves
/// out follows from the schema alone.
public struct KindDescription: Sendable {
    /// How objects of the kind may be written.
    public struct Strategy: Sendable {
        /// PUT to a name that does not exist creates the object.
        public var allowsCreateOnUpdate = false
        /// PUT without a resourceVersion overwrites.
        public var allowsUnconditionalUpdate = true
        /// Changes outside metadata and status raise `metadata.generation`.
        public var countsGenerations = false
        /// Changes of annotations raise it too: those of Deployments are about their pods.
        public var countsAnnotations = false
        /// DELETE waits for whoever runs the object: pods.
        public var deletesGracefully = false
        /// DELETE answers with the object that is gone, and not with a Status. Source: the 200 of the operation in
        /// Kubernetes' OpenAPI document; typed clients rely on it.
        public var answersWithDeleted = false
        /// The kind's rules judge what is written to `status` too.
        public var judgesStatus = false

        public init(
            allowsCreateOnUpdate: Bool = false, allowsUnconditionalUpdate: Bool = true,
            countsGenerations: Bool = false, countsAnnotations: Bool = false, deletesGracefully: Bool = false,
            answersWithDeleted: Bool = false, judgesStatus: Bool = false
        ) {
            self.allowsCreateOnUpdate = allowsCreateOnUpdate
            self.allowsUnconditionalUpdate = allowsUnconditionalUpdate
            self.countsGenerations = countsGenerations
            self.countsAnnotations = countsAnnotations
            self.deletesGracefully = deletesGracefully
            self.answersWithDeleted = answersWithDeleted
            self.judgesStatus = judgesStatus
        }
    }

    /// What an object's name must look like.
    public enum NameRule: Sendable {
        case subdomain, label, label1035, pathSegment
        /// Whatever the kind's own rules say.
        case own(@Sendable (String) -> [String])

        func problems(_ name: String) -> [String] {
            switch self {
            case .own(let problems): problems(name)
            case .subdomain: Names.subdomainProblems(name)
            case .label: Names.labelProblems(name)
            case .label1035: Names.label1035Problems(name)
            case .pathSegment: Names.pathSegmentProblems(name)
            }
        }
    }

    /// A field that lists and watches can be narrowed by.
    public struct SelectableField: Sendable {
        private let read: @Sendable (JSON) -> String

        init(_ read: @escaping @Sendable (JSON) -> String) { self.read = read }

        /// The text of the member at a path; empty when it is missing.
        init(path: String, missing: String = "") {
            let steps = path.split(separator: ".").map(String.init)
            self.init { object in
                var value: JSON? = object
                for step in steps { value = value[step] }
                return switch value {
                case .string(let text)?: text
                case .bool(let flag)?: String(flag)
                case .int(let number)?: String(number)
                default: missing
                }
            }
        }

        public func value(of object: JSON) -> String { read(object) }
    }

    public let group: String
    public let kind: String
    public var nameRule: NameRule
    public var strategy: Strategy
    /// Paths below the object that may not change once they are set, such as `spec.selector`.
    public var immutableFields: [String]
    public var selectableFields: [String: SelectableField]
    /// Nil: name and age, or what the definition of a custom resource asks for.
    public var columns: [TableColumn]?
    /// The status of a new object; nil leaves it without.
    public var initialStatus: (@Sendable (JSON) -> JSON)?
    /// Completes a new object that already has its name, uid and creation time.
    public var complete: @Sendable (inout JSON) -> Void
    /// Writes down on a new object who made it: its second argument is a `UserInfo` of authentication.k8s.io.
    public var enterRequester: @Sendable (inout JSON, JSON) -> Void
    /// Takes over from the stored object what an update cannot change.
    public var keep: @Sendable (inout JSON, JSON) -> Void
    /// The same for an update of the status.
    public var keepInStatus: @Sendable (inout JSON, JSON) -> Void
    /// What a write to a path below the object makes of the stored object, by the path: what was sent, what is stored,
    /// and the time. A path that is not named here follows the common rules.
    public var parts: [String: @Sendable (JSON, JSON, Timestamp) -> JSON]
    /// Fills in what a client may leave out.
    public var defaults: @Sendable (inout JSON) -> Void
    /// Finds what is wrong with an object beyond its schema.
    public var rules: @Sendable (inout Inspection) -> Void
    /// Finds what is wrong with a status that is written to its own path.
    public var statusRules: @Sendable (inout Inspection) -> Void

    init(
        _ group: String, _ kind: String, name: NameRule = .subdomain, strategy: Strategy = Strategy(),
        immutable: [String] = [], selectable: [String: SelectableField] = [:], columns: [TableColumn]? = nil,
        initialStatus: (@Sendable (JSON) -> JSON)? = nil,
        complete: @escaping @Sendable (inout JSON) -> Void = { _ in },
        enterRequester: @escaping @Sendable (inout JSON, JSON) -> Void = { _, _ in },
        keep: @escaping @Sendable (inout JSON, JSON) -> Void = { _, _ in },
        keepInStatus: @escaping @Sendable (inout JSON, JSON) -> Void = { _, _ in },
        parts: [String: @Sendable (JSON, JSON, Timestamp) -> JSON] = [:],
        defaults: @escaping @Sendable (inout JSON) -> Void = { _ in },
        rules: @escaping @Sendable (inout Inspection) -> Void = { _ in },
        statusRules: @escaping @Sendable (inout Inspection) -> Void = { _ in }
    ) {
        self.group = group
        self.kind = kind
        nameRule = name
        self.strategy = strategy
        immutableFields = immutable
        selectableFields = selectable
        self.columns = columns
        self.initialStatus = initialStatus
        self.complete = complete
        self.enterRequester = enterRequester
        self.keep = keep
        self.keepInStatus = keepInStatus
        self.parts = parts
        self.defaults = defaults
        self.rules = rules
        self.statusRules = statusRules
    }

    /// The description of a type's kind; a type without one of its own has the common one.
    public static func of(_ type: ResourceType) -> KindDescription {
        if let custom = type.custom { return custom.description }
        if let found = byKind[Key(group: type.group, kind: type.kind)] { return found }
        return KindDescription(
            type.group, type.kind,
            strategy: Strategy(allowsUnconditionalUpdate: !type.isCustom, countsGenerations: type.isCustom))
    }

    private struct Key: Hashable {
        let group: String
        let kind: String
    }

    private static let byKind: [Key: KindDescription] = Dictionary(
        all.map { (Key(group: $0.group, kind: $0.kind), $0) }, uniquingKeysWith: { first, _ in first })
}
