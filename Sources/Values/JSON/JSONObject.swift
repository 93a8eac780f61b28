// SPDX-License-Identifier: Apache-2.0

/// The members of a JSON object in the order they were written.
///
/// Objects of an API are small, so members are looked up by walking them: that is smaller and faster than hashing. Large
/// ones have an index, because anybody may send an object of a million keys.
public struct JSONObject: Sendable, ExpressibleByDictionaryLiteral {
    public typealias Member = (key: String, value: JSON)

    public private(set) var members: [Member]
    /// Where each key stands. Only of large objects, and not after a removal until the next key is added.
    private var positions: [String: Int]?

    /// Up to so many members are looked up by walking.
    private static let walked = 64

    public init() { members = [] }

    /// Takes the members as they are. The caller vouches that no key stands twice.
    public init(_ members: [Member]) {
        self.members = members
        if members.count > Self.walked { makeIndex() }
    }

    private mutating func makeIndex() {
        positions = Dictionary(
            members.enumerated().map { ($0.element.key, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }

    public init(dictionaryLiteral elements: (String, JSON)...) {
        members = []
        for (key, value) in elements { self[key] = value }
    }

    public var isEmpty: Bool { members.isEmpty }
    public var count: Int { members.count }
    public var keys: [String] { members.map(\.key) }

    @usableFromInline
    func index(of key: String) -> Int? {
        if let positions { return positions[key] }
        return members.firstIndex { $0.key == key }
    }

    public subscript(key: String) -> JSON? {
        get { index(of: key).map { members[$0].value } }
        set {
            switch (index(of: key), newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): remove(at: index)
            case (nil, let value?): append(key, value)
            case (nil, nil): break
            }
        }
    }

    /// Removes the member and returns what it held.
    @discardableResult
    public mutating func removeValue(forKey key: String) -> JSON? {
        index(of: key).map { remove(at: $0) }
    }

    @discardableResult
    private mutating func remove(at index: Int) -> JSON {
        let isLast = index == members.count - 1
        let member = members.remove(at: index)
        if isLast { positions?[member.key] = nil } else { positions = nil }
        return member.value
    }

    public mutating func removeAll(where shouldRemove: (Member) -> Bool) {
        members.removeAll(where: shouldRemove)
        positions = nil
    }

    /// Adds a member at the end. The caller vouches that there is none of that key.
    mutating func append(_ key: String, _ value: JSON) {
        members.append((key, value))
        guard members.count > Self.walked else { return }
        if positions == nil { makeIndex() } else { positions?[key] = members.count - 1 }
    }

    /// The string members as a dictionary: labels, annotations, selectors. Members of other types are left out.
    public var strings: [String: String] {
        var result: [String: String] = [:]
        for (key, value) in members { if let string = value.string { result[key] = string } }
        return result
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> IndexingIterator<[Member]> { members.makeIterator() }
}

extension JSONObject: Hashable {
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        return zip(left.members, right.members).allSatisfy { $0.key == $1.key && $0.value == $1.value }
            || left.members.allSatisfy { right[$0.key] == $0.value }
    }

    public func hash(into hasher: inout Hasher) {
        var combined = 0
        for member in members {
            var one = Hasher()
            one.combine(member.key)
            one.combine(member.value)
            combined ^= one.finalize()
        }
        hasher.combine(combined)
    }
}
