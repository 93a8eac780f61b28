// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import Values

/// What the server itself does about CustomResourceDefinitions: it accepts their names, keeps them until their objects
/// have gone, and ends the watches of what is no longer served.
extension APIServer {
    /// Holds a definition while there may be objects of its kind.
    static let definitionFinalizer = "customresourcecleanup.apiextensions.k8s.io"

    /// Writes into a definition that is being written which of its names are accepted.
    func define(_ object: inout KubeObject, isNew: Bool, _ type: ResourceType) {
        guard type.storage == .customResourceDefinitions else { return }
        if isNew {
            let finalizers = object.finalizers
            if !finalizers.contains(Self.definitionFinalizer) {
                object.metadata["finalizers"] = JSON(finalizers + [Self.definitionFinalizer])
            }
        }
        let others = mirror.list(storageKey(type)).objects.map { $0.object() }
        let names = NamesAcceptance(
            group: object["spec"]["group"].string ?? "", name: object.name, others: others)
        object["status"] = names.status(of: object, now: .now)
    }

    /// Refuses to delete the definition of a kind that the program serves by itself.
    func requireDeletable(_ name: String, _ type: ResourceType) throws(StatusError) {
        guard type.storage == .customResourceDefinitions, ServedResources.own.contains(name) else { return }
        throw .forbidden(
            type.resource, name: name,
            "the cluster's network keeps its objects under this definition, which is built in and cannot be deleted")
    }

    /// Refuses new objects of a kind whose definition goes away.
    func requireOpen(_ type: ResourceType) throws(StatusError) {
        guard let custom = type.custom, !custom.takesNewObjects else { return }
        throw StatusError(
            405, "MethodNotAllowed",
            "create not allowed while custom resource definition \(custom.definition) is terminating")
    }

    /// Follows the definitions until cancelled.
    static func followDefinitions(_ mirror: Mirror, _ server: @escaping @Sendable () -> APIServer?) async {
        let key = StorageKey(.customResourceDefinitions)
        while !Task.isCancelled {
            guard let watch = mirror.watch(key, namespace: nil, from: .snapshot).watch else { return }
            var served = Set(server()?.served.current.registry.resources.map(\.resource) ?? [])
            while let signal = await watch.subscription.next() {
                guard case .events(let events) = signal, let server = server() else { continue }
                let now = Set(server.served.current.registry.resources.map(\.resource))
                for gone in served.subtracting(now) { mirror.endWatches(StorageKey(gone)) }
                served = now
                for event in events where event.kind == .delete { await server.freeNames(of: event.object.object()) }
            }
            mirror.unsubscribe(key, watch.subscription)
        }
    }

    /// The names of a definition that went may be what another has waited for.
    private func freeNames(of gone: KubeObject) async {
        guard let type = registry.resource(.customResourceDefinitions) else { return }
        let waiting = mirror.list(storageKey(type)).objects.map { $0.object() }.filter { definition in
            definition["spec"]["group"] == gone["spec"]["group"]
                && (definition["status"]["conditions"].array ?? []).contains {
                    $0["type"].string == "NamesAccepted" && $0["status"].string != "True"
                }
        }
        for definition in waiting {
            do {
                _ = try await exclusively(type) {
                    try await modify(type, nil, definition.name, dryRun: false) { old in
                        var object = old
                        define(&object, isNew: false, type)
                        return object == old ? .keep : .write(object)
                    }
                }
            } catch {
                logger.warning(
                    "names of a definition were not accepted",
                    metadata: ["definition": "\(definition.name)", "error": "\(error)"])
            }
        }
    }
}
