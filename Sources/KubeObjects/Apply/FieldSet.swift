// SPDX-License-Identifier: Apache-2.0

public import Values

/// A set of paths below an object, as `metadata.managedFields` keeps them (FieldsV1): each step is `f:` and a field's
/// name, `k:` and the keys of an element, or `v:` and the value of one.
public struct FieldSet: Sendable, Hashable {
    /// Whether the path that ends here is in the set, besides those that go on.
    public var isMember = false
    private var children: [String: FieldSet] = [:]

    public init() {}

    /// A set of one path: the empty one, which stands for the value itself.
    static let itself = {
        var set = FieldSet()
        set.isMember = true
        return set
    }()

    public var isEmpty: Bool { !isMember && children.isEmpty }

    /// What the set has below a step; nil for nothing. Setting an empty set removes the step.
    public subscript(step: String) -> FieldSet? {
        get { children[step] }
        set { children[step] = newValue?.isEmpty ?? true ? nil : newValue }
    }

    /// The set without the paths that begin with a step of the root.
    func without(_ steps: some Sequence<String>) -> FieldSet {
        var set = self
        for step in steps { set.children[step] = nil }
        return set
    }

    /// The paths below some steps of the root alone.
    func only(_ steps: Set<String>) -> FieldSet {
        var set = FieldSet()
        set.children = children.filter { steps.contains($0.key) }
        return set
    }

    public func union(_ other: FieldSet) -> FieldSet {
        var set = self
        set.isMember = isMember || other.isMember
        set.children.merge(other.children) { $0.union($1) }
        return set
    }

    /// Whether a path is in the set.
    public func contains(_ path: some Sequence<String>) -> Bool {
        var set = self
        for step in path {
            guard let child = set[step] else { return false }
            set = child
        }
        return set.isMember
    }

    /// The set of one path.
    public init(path: ArraySlice<String>) {
        guard let step = path.first else {
            isMember = true
            return
        }
        self[step] = FieldSet(path: path.dropFirst())
    }

    /// The paths that are not in `other` as well.
    public func subtracting(_ other: FieldSet) -> FieldSet {
        var set = self
        set.isMember = isMember && !other.isMember
        for (step, child) in other.children { set[step] = set[step]?.subtracting(child) }
        return set
    }

    public func intersection(_ other: FieldSet) -> FieldSet {
        var set = FieldSet()
        set.isMember = isMember && other.isMember
        for (step, child) in children {
            if let twin = other.children[step] { set[step] = child.intersection(twin) }
        }
        return set
    }

    // MARK: FieldsV1

    /// From the value of `fieldsV1`; nil for what is none.
    public init?(fieldsV1 json: JSON, depth: Int = 0) {
        guard let object = json.object, depth < JSON.maximumDepth else { return nil }
        for (step, value) in object {
            if step == "." {
                isMember = true
                continue
            }
            guard ["f:", "k:", "v:", "i:"].contains(where: step.hasPrefix),
                var child = FieldSet(fieldsV1: value, depth: depth + 1)
            else { return nil }
            if value.object?.isEmpty ?? true { child.isMember = true }
            children[step] = child
        }
    }

    /// Whether the set and a value of `fieldsV1` have a path in common: as `intersection`, without reading the value.
    func meets(fieldsV1 json: JSON?) -> Bool {
        guard let object = json.object else { return false }
        return children.contains { step, child in
            guard let twin = object[step] else { return false }
            return child.isMember && Self.isMember(twin) || child.meets(fieldsV1: twin)
        }
    }

    /// Whether all paths of the set stand in a value of `fieldsV1`.
    func isContained(inFieldsV1 json: JSON?) -> Bool {
        guard let object = json.object else { return isEmpty }
        return children.allSatisfy { step, child in
            guard let twin = object[step] else { return false }
            return (!child.isMember || Self.isMember(twin)) && child.isContained(inFieldsV1: twin)
        }
    }

    private static func isMember(_ json: JSON) -> Bool {
        guard let object = json.object else { return false }
        return object.isEmpty || object["."] != nil
    }

    /// Steps in the order of their names, so that equal sets have equal bytes.
    public var fieldsV1: JSON {
        var members: [JSONObject.Member] = []
        if isMember, !children.isEmpty { members.append((".", [:])) }
        for (step, child) in children.sorted(by: { $0.key < $1.key }) { members.append((step, child.fieldsV1)) }
        return .object(JSONObject(members))
    }

    /// The paths as people read them: `.spec.containers[name="web"].image`, in order.
    public var descriptions: [String] {
        var result: [String] = isMember ? [""] : []
        for (step, child) in children.sorted(by: { $0.key < $1.key }) {
            result += child.descriptions.map { Self.describe(step) + $0 }
        }
        return result
    }

    private static func describe(_ step: String) -> String {
        let rest = step.dropFirst(2)
        switch step.prefix(2) {
        case "k:":
            let keys = (try? JSON(parsing: String(rest)))?.object ?? [:]
            return "[\(keys.map { "\($0.key)=\($0.value.text())" }.joined(separator: ","))]"
        case "v:": return "[=\(rest)]"
        case "i:": return "[\(rest)]"
        default: return ".\(rest)"
        }
    }
}
