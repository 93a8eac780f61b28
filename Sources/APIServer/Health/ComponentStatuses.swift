// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Storage
import Synchronization
import Values

/// What the components beside the server say of themselves.
public final class ComponentReports: Sendable {
    /// The components that `kubectl get componentstatuses` asks about.
    public enum Component: String, Sendable, CaseIterable {
        case controllerManager = "controller-manager"
        case scheduler
    }

    private let running = Mutex<Set<Component>>([])

    /// Says that a component has begun its work, or that it has ended.
    public func report(_ component: Component, isRunning: Bool) {
        running.withLock { running in
            if isRunning { running.insert(component) } else { running.remove(component) }
        }
    }

    func isRunning(_ component: Component) -> Bool { running.withLock { $0.contains(component) } }
}

extension APIServer {
    /// GET of `componentstatuses`: made on the spot, from what is known now.
    func componentStatuses(_ context: RequestContext) async throws -> Reply {
        context.warnings.add("v1 ComponentStatus is deprecated in v1.19+")
        let encoding = try ObjectEncoding(context)
        let key = storageKey(context.type)
        func status(_ name: String, _ failure: String?) -> StoredObject {
            StoredObject(
                key: key.key(nil, name), resource: key, revision: mirror.revision,
                value: StoredObject.encode(Self.status(of: name, failure)))
        }
        var objects = ComponentReports.Component.allCases.map { component in
            status(component.rawValue, components.isRunning(component) ? nil : "it does not run in this control plane")
        }
        var failure: String?
        do {
            _ = try await storage.range(prefix: StorageKey.root, from: nil, limit: 1, at: nil)
        } catch {
            failure = "\(error)"
        }
        objects.append(status("etcd-0", failure))
        switch context.info.verb {
        case "get":
            guard let object = objects.first(where: { $0.name == context.name }) else {
                throw StatusError.notFound(GroupVersionResource("", "v1", "componentstatus"), name: context.name)
            }
            return encoding.reply(object)
        case "list":
            let selection = try Selection(context)
            return encoding.list(
                objects.filter(selection.matches), revision: mirror.revision, continueToken: nil, remaining: nil)
        default: throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
    }

    private static func status(of name: String, _ failure: String?) -> KubeObject {
        var object = KubeObject(["kind": "ComponentStatus", "apiVersion": "v1", "metadata": ["name": JSON(name)]])
        object["conditions"] = [
            ["type": "Healthy", "status": failure == nil ? "True" : "False", "message": JSON(failure ?? "ok")]
        ]
        return object
    }
}
