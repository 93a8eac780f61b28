// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import KubeObjects
public import Logging
import Values

/// Brings a cluster's addons to what this version of the program ships, by server-side apply under an owner's name.
///
/// Invariants: what others set in fields that no addon states stays. A field that is a beginning
/// (``ShippedObject/beginnings``) is theirs from when they set it. Of other fields that an addon states and somebody
/// else has set, Catbird's value comes back, and the log says whose went. What is not shipped any more is removed when
/// Catbird made it. An object under an addon's name that Catbird never wrote is left alone. The default pool comes with
/// the first start, which is the one whose look finds clearly (404) no ClusterInformation: an error says nothing.
public struct AddonInstaller: Sendable {
    private let client: KubeClient
    private let addons: Addons
    private let log: Logger

    /// - Parameter client: of whoever may write everything that addons contain.
    public init(client: KubeClient, addons: Addons, log: Logger) {
        self.client = client
        self.addons = addons
        self.log = log
    }

    /// Returns when everything is there or has been refused for good; what fails for a passing reason is tried again.
    ///
    /// - Throws: `YAMLError`, which would be a mistake of a template; `CancellationError`.
    public func run() async throws {
        let shipped = try addons.shipped()
        var first: Bool?
        var waiting = shipped
        var backoff = Backoff(least: .milliseconds(100), most: .seconds(30))
        while true {
            if first == nil { first = await isFirstStart() }
            waiting = try await pass(waiting, first)
            if waiting.isEmpty, await prune(shipped) { return }
            // The server tells nobody when it will take what it has not taken.
            try await Task.sleep(for: backoff.next())
        }
    }

    /// Nil while nobody knows.
    private func isFirstStart() async -> Bool? {
        do {
            _ = try await client.get(.clusterInformations, "default")
            return false
        } catch let error as APIError where error.isNotFound && error.details["name"].string == "default" {
            return true
        } catch {
            log.warning("whether this is the first start is not known yet", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// One try of each object, in order.
    ///
    /// - Returns: those that have to be tried again.
    private func pass(_ objects: [ShippedObject], _ isFirst: Bool?) async throws -> [ShippedObject] {
        var again: [ShippedObject] = []
        for shipped in objects {
            try Task.checkCancellation()
            // A ClusterInformation without the pool before it would end the first start too early.
            if shipped.resource == .clusterInformations, again.contains(where: \.isForFirstStartOnly) {
                again.append(shipped)
                continue
            }
            if shipped.isForFirstStartOnly {
                guard let isFirst else {
                    again.append(shipped)
                    continue
                }
                if !isFirst { continue }
            }
            do { try await install(shipped) } catch let error as APIError where !error.isTransient && !error.isConflict
            {
                log.error("\(shipped.title) is refused: the cluster goes on without", metadata: ["error": "\(error)"])
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                log.warning("\(shipped.title) is not installed yet", metadata: ["error": "\(error)"])
                again.append(shipped)
            }
        }
        return again
    }

    private func install(_ shipped: ShippedObject) async throws {
        let object = shipped.object
        if let current = try await client.find(shipped.resource, object.key) {
            if shipped.isForFirstStartOnly { return }
            let owners = FieldOwners(current)
            guard
                owners.isEmpty || owners.managers.contains(FieldOwners.manager)
                    || current.labels[Addons.ownerLabel] == Addons.owner
            else {
                log.notice("\(shipped.title) was made by \(owners.managers.sorted()): it is left as it is")
                return
            }
            try await adopt(current, owners, shipped.resource)
        }
        try await apply(shipped)
    }

    /// See ``FieldOwners/asApplied``.
    private func adopt(_ object: KubeObject, _ owners: FieldOwners, _ resource: GroupVersionResource) async throws {
        guard let entries = owners.asApplied else { return }
        try await client.patch(
            resource, object.name, in: object.namespace, type: .merge,
            ["metadata": ["resourceVersion": JSON(object.resourceVersion), "managedFields": entries]])
    }

    private func apply(_ shipped: ShippedObject) async throws {
        var body = shipped.object
        do {
            try await client.apply(shipped.resource, body, fieldManager: FieldOwners.manager)
            return
        } catch let error as APIError where error.isConflict {
            let claims = error.conflictingFields
            guard !claims.isEmpty else { throw error }
            for claim in claims where shipped.beginnings.contains(claim.field) {
                body.json = body.json.without(claim.field)
                log.info("\(shipped.title): \(claim.field) is as \(claim.manager) set it")
            }
            for claim in claims
            where !shipped.beginnings.contains(claim.field) && !FieldOwners.isOwn(claim.manager) {
                log.warning(
                    "\(shipped.title): \(claim.field), which \(claim.manager) had set, is as Catbird ships it again")
            }
        }
        try await client.apply(shipped.resource, body, fieldManager: FieldOwners.manager, force: true)
    }

    /// Removes what Catbird applied and ships no more.
    ///
    /// - Returns: false when it has to be tried again.
    private func prune(_ shipped: [ShippedObject]) async -> Bool {
        let kept = Set(shipped.map { Place($0.resource, $0.object.key) })
        var isDone = true
        for (_, resource) in ShippedObject.resources {
            do {
                let selector = "\(Addons.ownerLabel)=\(Addons.owner),\(Addons.addonLabel)"
                for object in try await client.list(resource, labelSelector: selector).items
                where !kept.contains(Place(resource, object.key)) && FieldOwners(object).areApplied {
                    try await remove(object, resource)
                }
                for (_, key) in Addons.retired.filter({ $0.0 == resource }) {
                    guard let object = try await client.find(resource, key) else { continue }
                    let owners = FieldOwners(object)
                    // Others may have written into it since, as Calico's calico.yaml does.
                    if !owners.isEmpty, owners.isOursAlone { try await remove(object, resource) }
                }
            } catch {
                log.warning("\(resource.groupResource) of earlier versions are not removed yet: \(error)")
                if (error as? APIError)?.isTransient ?? true { isDone = false }
            }
        }
        return isDone
    }

    private struct Place: Hashable {
        let resource: GroupVersionResource
        let key: ObjectKey

        init(_ resource: GroupVersionResource, _ key: ObjectKey) {
            self.resource = resource
            self.key = key
        }
    }

    private func remove(_ object: KubeObject, _ resource: GroupVersionResource) async throws {
        do { try await client.delete(resource, object.name, in: object.namespace, uid: object.uid) } catch let error
            as APIError where error.isNotFound
        { return }
        log.notice("\(object.kind) \(object.key) is removed: this version does not ship it")
    }
}

extension JSON {
    /// The same without the member at a path of object members, `.spec.replicas`.
    fileprivate func without(_ path: String) -> JSON { without(path.split(separator: ".")[...]) }

    private func without(_ path: ArraySlice<Substring>) -> JSON {
        guard let first = path.first.map(String.init), var object, let inner = object[first] else { return self }
        if path.count == 1 {
            object.removeValue(forKey: first)
        } else {
            object[first] = inner.without(path.dropFirst())
        }
        return .object(object)
    }
}
