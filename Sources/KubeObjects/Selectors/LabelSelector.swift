// SPDX-License-Identifier: Apache-2.0

public import Values

/// Which labels an object must have: the text of a query (`app=web,tier in (a,b),!old`) or the object of a spec
/// (`matchLabels`, `matchExpressions`). All requirements must hold.
public struct LabelSelector: Sendable, Hashable {
    public enum Operator: String, Sendable, Hashable {
        case equals = "="
        case notEquals = "!="
        case isIn = "in"
        case notIn = "notin"
        case exists = "exists"
        case doesNotExist = "!"
        case greaterThan = ">"
        case lessThan = "<"
    }

    public struct Requirement: Sendable, Hashable {
        public var key: String
        public var `operator`: Operator
        public var values: [String]

        public init(_ key: String, _ operator: Operator, _ values: [String] = []) {
            self.key = key
            self.operator = `operator`
            self.values = values
        }

        /// Negative operators also hold where the label is missing.
        public func matches(_ labels: [String: String]) -> Bool {
            let value = labels[key]
            switch `operator` {
            case .equals, .isIn: return value.map { values.contains($0) } ?? false
            case .notEquals, .notIn: return value.map { !values.contains($0) } ?? true
            case .exists: return value != nil
            case .doesNotExist: return value == nil
            case .greaterThan, .lessThan:
                guard let number = value.flatMap({ Int64($0) }), let bound = values.first.flatMap({ Int64($0) }) else {
                    return false
                }
                return `operator` == .greaterThan ? number > bound : number < bound
            }
        }
    }

    /// Why text or an object is no selector.
    public struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
        public let description: String
    }

    public var requirements: [Requirement]
    /// A selector that selects nothing, which is what a missing object means.
    public var matchesNothing = false

    public init(_ requirements: [Requirement] = []) { self.requirements = requirements }

    /// Selects everything.
    public static let everything = LabelSelector()
    public static let nothing: LabelSelector = {
        var selector = LabelSelector()
        selector.matchesNothing = true
        return selector
    }()

    public init(matchLabels labels: [String: String]) {
        requirements = labels.sorted { $0.key < $1.key }.map { Requirement($0.key, .equals, [$0.value]) }
    }

    /// Whether it has no requirement and so selects every object.
    public var isEmpty: Bool { requirements.isEmpty && !matchesNothing }

    public func matches(_ labels: [String: String]) -> Bool {
        !matchesNothing && requirements.allSatisfy { $0.matches(labels) }
    }

    /// The object form. A missing selector selects nothing, an empty one everything. A broken expression throws.
    public init(object: JSON?) throws(ParseError) {
        guard let object, !object.isNull else {
            self = .nothing
            return
        }
        self.init(matchLabels: object["matchLabels"].object?.strings ?? [:])
        for expression in object["matchExpressions"].array ?? [] {
            let key = expression["key"].string ?? ""
            let values = expression["values"].array?.compactMap(\.string) ?? []
            switch expression["operator"].string {
            case "In": requirements.append(Requirement(key, .isIn, values.sorted()))
            case "NotIn": requirements.append(Requirement(key, .notIn, values.sorted()))
            case "Exists": requirements.append(Requirement(key, .exists))
            case "DoesNotExist": requirements.append(Requirement(key, .doesNotExist))
            case let other:
                throw ParseError(description: "\"\(other ?? "")\" is not a valid label selector operator")
            }
        }
    }
}

extension LabelSelector: CustomStringConvertible {
    /// The text form, as `status.selector` of a Scale and tables show it.
    public var description: String {
        requirements.map { requirement in
            switch requirement.operator {
            case .equals, .notEquals, .greaterThan, .lessThan:
                requirement.key + requirement.operator.rawValue + (requirement.values.first ?? "")
            case .isIn: "\(requirement.key) in (\(requirement.values.joined(separator: ",")))"
            case .notIn: "\(requirement.key) notin (\(requirement.values.joined(separator: ",")))"
            case .exists: requirement.key
            case .doesNotExist: "!\(requirement.key)"
            }
        }.joined(separator: ",")
    }
}
