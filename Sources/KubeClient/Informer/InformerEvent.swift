// SPDX-License-Identifier: Apache-2.0

public import KubeObjects

/// A change of an informer's cache.
public enum InformerEvent: Sendable, Hashable {
    case added(KubeObject)
    case updated(old: KubeObject, new: KubeObject)
    /// The object as it was last seen.
    case deleted(KubeObject)

    /// The object after the change; for a deletion, before it.
    public var object: KubeObject {
        switch self {
        case .added(let object), .updated(_, let object), .deleted(let object): object
        }
    }

    public var key: ObjectKey { object.key }
    public var isDeletion: Bool { if case .deleted = self { true } else { false } }
}
