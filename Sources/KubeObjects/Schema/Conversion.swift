// SPDX-License-Identifier: Apache-2.0

import Values

extension ResourceType {
    /// The object as this type has it, when it was written as another that shares the same storage.
    ///
    /// Fields that only one of the versions has are kept under annotations or left out as Kubernetes does.
    public func converted(_ object: KubeObject) -> KubeObject {
        if object.apiVersion == apiVersion, object.kind == kind { return object }
        var json = object.json
        switch (object.groupVersionKind.group, group, kind) {
        case ("", "events.k8s.io", "Event"): EventConversion.rename(&json, toCore: false)
        case ("events.k8s.io", "", "Event"): EventConversion.rename(&json, toCore: true)
        case ("autoscaling", "autoscaling", "HorizontalPodAutoscaler"):
            version == "v1" ? AutoscalerConversion.toV1(&json) : AutoscalerConversion.toV2(&json)
        case (_, _, "BlockAffinity"):
            // The flag is text in one group and a boolean in the other.
            if let flag = json["spec"]["deleted"] {
                if version == "v1", let flag = flag.bool { json["spec"]["deleted"] = JSON(String(flag)) }
                if version == "v3", let flag = flag.string { json["spec"]["deleted"] = JSON(flag == "true") }
            }
        default: break
        }
        json["apiVersion"] = JSON(apiVersion)
        json["kind"] = JSON(kind)
        return KubeObject(json)
    }
}

/// `v1, Event` and `events.k8s.io/v1, Event` are one object under different names.
enum EventConversion {
    /// Core's names and those of events.k8s.io.
    private static let names = [
        ("message", "note"), ("involvedObject", "regarding"), ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"), ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"), ("count", "deprecatedCount"),
    ]

    static func rename(_ event: inout JSON, toCore: Bool) {
        guard case .object(let members) = event else { return }
        event = .object(
            JSONObject(
                members.map { member in
                    let pair = names.first { (toCore ? $0.1 : $0.0) == member.key }
                    return (pair.map { toCore ? $0.0 : $0.1 } ?? member.key, member.value)
                }))
    }
}
