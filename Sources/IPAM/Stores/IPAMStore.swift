// SPDX-License-Identifier: Apache-2.0

public import KubeObjects

/// A change to one IPAM object, as a compare-and-swap.
public struct IPAMChange: Sendable {
    public enum Verb: Sendable, Hashable {
        /// Succeeds only if there is no object of the name.
        case create
        /// Succeeds only if the stored object still has the resourceVersion that this one carries.
        case update
        /// Succeeds only if the stored object has the uid and resourceVersion that this one carries; an empty one of
        /// them is not compared.
        case delete
    }

    public let verb: Verb
    public let resource: GroupVersionResource
    public let object: KubeObject

    public init(_ verb: Verb, _ resource: GroupVersionResource, _ object: KubeObject) {
        self.verb = verb
        self.resource = resource
        self.object = object
    }

    /// Creates an object that was never stored, updates one that was.
    public init(writing resource: GroupVersionResource, _ object: KubeObject) {
        self.init(object.resourceVersion.isEmpty ? .create : .update, resource, object)
    }
}

/// What became of a change.
public enum IPAMOutcome: Sendable {
    /// As stored, with its new resourceVersion.
    case written(KubeObject)
    case deleted
    /// An object of the name is there already.
    case exists
    /// The object changed, or is another one, since it was read.
    case conflict
    case notFound

    public var object: KubeObject? { if case .written(let object) = self { object } else { nil } }
}

/// Where IPAM objects are kept: whatever can compare and swap one object at a time.
///
/// An error that is thrown says nothing about whether the changes were made.
public protocol IPAMStore: Sendable {
    /// Before a batch of decisions: a store that is not kept up to date by a watch reads, or locks, here.
    func begin() async throws
    /// After the batch, whatever became of it.
    func end() async
    /// Grows or changes whenever ``objects`` may have; nil when that is not known.
    var revision: String? { get }
    /// The objects as last seen. They may be old: a change made from an old one fails by its version.
    var objects: IPAMObjects { get }
    /// What a reader that is given one asks instead of ``objects``, which it then never looks at again; nil for a store
    /// that is read or locked anew for each batch.
    func feed() -> (any IPAMFeed)?
    /// The object as it is now, nil when there is none.
    func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject?
    /// Makes changes that do not depend on each other, and says for each what became of it.
    func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome]
}

extension IPAMStore {
    public func begin() async throws {}
    public func end() async {}
    public var revision: String? { nil }
    public func feed() -> (any IPAMFeed)? { nil }
}
