// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import NetworkModel
import Values

/// The ports of all Services with their endpoints; a change of one Service is worked out for that Service alone.
actor ServiceIndex {
    private var services: [ObjectKey: KubeObject] = [:]
    private var slices: [ObjectKey: [ObjectKey: KubeObject]] = [:]
    private var ports: [ObjectKey: [ServicePort]] = [:]

    func takeServices(_ events: [InformerEvent]) {
        for event in events {
            services[event.key] = event.isDeletion ? nil : event.object
            update(event.key)
        }
    }

    func takeSlices(_ events: [InformerEvent]) {
        for event in events {
            let slice = event.object
            if case .updated(let old, _) = event, let before = Self.service(of: old), before != Self.service(of: slice)
            {
                slices[before]?[event.key] = nil
                update(before)
            }
            guard let service = Self.service(of: slice) else { continue }
            slices[service, default: [:]][event.key] = event.isDeletion ? nil : slice
            if slices[service]?.isEmpty ?? false { slices[service] = nil }
            update(service)
        }
    }

    var all: [ServicePort] { ports.values.flatMap(\.self) }

    private static func service(of slice: KubeObject) -> ObjectKey? {
        slice.labels["kubernetes.io/service-name"].map { ObjectKey(slice.namespace, $0) }
    }

    private func update(_ key: ObjectKey) {
        guard let service = services[key] else {
            ports[key] = nil
            return
        }
        let found = ServiceModel.ports(of: service, slices: Array((slices[key] ?? [:]).values))
        ports[key] = found.isEmpty ? nil : found
    }
}
