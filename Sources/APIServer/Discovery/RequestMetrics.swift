// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization

/// Counts requests, as `/metrics` tells.
final class RequestMetrics: Sendable {
    private struct Key: Hashable {
        let verb: String
        let group: String
        let version: String
        let resource: String
        let subresource: String
        let code: Int
    }

    private let counts = Mutex<[Key: Int]>([:])

    func count(_ info: RequestInfo, _ registry: ResourceRegistry, code: Int) {
        // Only what is served is counted one by one: anybody can ask for any number of paths, and be refused.
        guard info.isResourceRequest, code != 404, let type = registry.resource(info.groupVersionResource),
            info.subresource.isEmpty || type.subresource(info.subresource) != nil
        else { return }
        let key = Key(
            verb: info.verb.uppercased(), group: info.group, version: info.version, resource: info.resource,
            subresource: info.subresource, code: code)
        counts.withLock { $0[key, default: 0] += 1 }
    }

    /// The text format of Prometheus.
    func text(_ mirror: Mirror) -> String {
        var lines = [
            "# HELP apiserver_request_total Requests by verb, resource and response code.",
            "# TYPE apiserver_request_total counter",
        ]
        lines += counts.withLock { $0 }.map { key, count in
            "apiserver_request_total{verb=\"\(key.verb)\",group=\"\(key.group)\",version=\"\(key.version)\","
                + "resource=\"\(key.resource)\",subresource=\"\(key.subresource)\",code=\"\(key.code)\"} \(count)"
        }.sorted()
        lines.append("# HELP apiserver_storage_objects Objects in the store by resource.")
        lines.append("# TYPE apiserver_storage_objects gauge")
        for (resource, count) in mirror.counts().sorted(by: { $0.resource.prefix < $1.resource.prefix }) {
            lines.append("apiserver_storage_objects{resource=\"\(resource.resource.groupResource)\"} \(count)")
        }
        lines.append("# TYPE catbird_storage_revision gauge")
        lines.append("catbird_storage_revision \(mirror.revision)")
        return lines.joined(separator: "\n") + "\n"
    }
}
