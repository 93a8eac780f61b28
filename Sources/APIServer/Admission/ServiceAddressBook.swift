// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import Storage
import Values

extension GroupVersionResource {
    static let serviceCIDRs = GroupVersionResource("networking.k8s.io", "v1", "servicecidrs")
    static let ipAddresses = GroupVersionResource("networking.k8s.io", "v1", "ipaddresses")
}

/// The IPAddress objects of Services.
///
/// One is made before the Service that has the address is written, and deleted after the Service has let go of it: a
/// server that is killed in between leaves an IPAddress too many, never one too few, and the controllers collect it.
extension APIServer {
    static let addressManager = "ipallocator.k8s.io"
    private static let managedBy = "ipaddress.kubernetes.io/managed-by"
    static let defaultRangeName = "kubernetes"

    /// The networks that Services get addresses from: those of all ServiceCIDRs that are ready and stay. Before there is
    /// any, what the server was told of.
    func serviceRanges() -> [CIDR] {
        let objects = mirror.list(StorageKey(.serviceCIDRs)).objects.map { $0.object() }
        guard !objects.isEmpty else { return [configuration.serviceCIDR] }
        let ready = objects.filter { object in
            let condition = (object["status"]["conditions"].array ?? []).first { $0["type"].string == "Ready" }
            return !object.isBeingDeleted && (condition?["status"].string ?? "True") == "True"
        }
        return ready.flatMap { $0["spec"]["cidrs"].array ?? [] }.compactMap { $0.string.flatMap { CIDR($0) } }
            .filter { $0.family == configuration.serviceCIDR.family }
    }

    /// Whether an address has an IPAddress that is not the Service's own from an attempt that was cut short.
    func isReserved(_ address: String, for service: KubeObject) -> Bool {
        guard let stored = mirror.object(StorageKey(.ipAddresses), nil, address) else { return false }
        return !Self.belongs(stored.object(), to: service)
    }

    private static func belongs(_ object: KubeObject, to service: KubeObject) -> Bool {
        let parent = object["spec"]["parentRef"]
        return object.labels[managedBy] == addressManager && (parent["group"].string ?? "").isEmpty
            && parent["resource"].string == "services" && parent["namespace"].string == service.namespace
            && parent["name"].string == service.name
    }

    /// Makes the IPAddress objects that a Service needs and does not have. Those made are returned.
    @discardableResult
    func reserveAddresses(of service: KubeObject, old: KubeObject?, _ type: ResourceType) async throws -> [String] {
        guard type.storage == .services, let addressType = registry.resource(.ipAddresses) else { return [] }
        let held = old.map { ServiceClaims.addresses(of: $0) } ?? []
        var made: [String] = []
        for address in ServiceClaims.addresses(of: service) where !held.contains(address) {
            if let stored = mirror.object(StorageKey(.ipAddresses), nil, address) {
                if Self.belongs(stored.object(), to: service) { continue }
                await releaseAddresses(made, of: service, type)
                throw StatusError.invalid(type, name: service.name, [Self.allocated(address)])
            }
            do {
                _ = try await insert(Self.object(address, service), addressType, dryRun: false)
                made.append(address)
            } catch {
                await releaseAddresses(made, of: service, type)
                guard let error = error as? StatusError, error.reason == "AlreadyExists" else { throw error }
                throw StatusError.invalid(type, name: service.name, [Self.allocated(address)])
            }
        }
        return made
    }

    /// Deletes the IPAddress objects of addresses that a Service does not have any more. What cannot be deleted now is
    /// left to the controllers.
    func releaseAddresses(_ addresses: [String], of service: KubeObject, _ type: ResourceType) async {
        guard type.storage == .services, !addresses.isEmpty else { return }
        guard (try? await mirror.caughtUp()) != nil else { return }
        let key = StorageKey(.ipAddresses)
        for address in addresses {
            guard let stored = mirror.object(key, nil, address), Self.belongs(stored.object(), to: service) else {
                continue
            }
            do {
                _ = try await storage.delete(stored.key, expecting: stored.revision)
            } catch {
                logger.warning(
                    "an address was not given back", metadata: ["address": "\(address)", "error": "\(error)"])
            }
        }
    }

    static func allocated(_ address: String) -> FieldError {
        .invalid(
            "spec.clusterIPs", [JSON(address)],
            "failed to allocate IP \(address): provided IP is already allocated")
    }

    private static func object(_ address: String, _ service: KubeObject) -> KubeObject {
        let family = address.contains(":") ? "IPv6" : "IPv4"
        var object = KubeObject(
            .ipAddresses, kind: "IPAddress", name: address,
            labels: ["ipaddress.kubernetes.io/ip-family": family, managedBy: addressManager])
        object.metadata["uid"] = JSON(UID.make())
        object.metadata["creationTimestamp"] = JSON(Timestamp.now.description)
        object["spec"] = [
            "parentRef": [
                "group": "", "resource": "services", "namespace": JSON(service.namespace ?? ""),
                "name": JSON(service.name),
            ]
        ]
        return object
    }
}
