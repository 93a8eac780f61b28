// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Gives containers the requests and limits that their namespace has ready for them, and refuses what lies outside of
/// its ranges.
struct LimitRanger: AdmissionPlugin {
    let objects: AdmissionObjects

    private static let annotation = "kubernetes.io/limit-ranger"
    private static let ranges = StorageKey(GroupVersionResource("", "v1", "limitranges"))

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.creates(.pods), let namespace = review.object.namespace else { return }
        let ranges = objects.list(Self.ranges, namespace: namespace)
        guard !ranges.isEmpty else { return }
        let before = review.object
        for range in ranges { Self.fill(&review.object, range) }
        if review.object != before {
            review.object["status"]["qosClass"] = JSON(QualityOfService.of(podSpec: review.object["spec"]))
        }
    }

    func validate(_ review: inout AdmissionReview) async throws {
        guard Self.judges(review), let namespace = review.object.namespace else { return }
        for range in objects.list(Self.ranges, namespace: namespace) {
            let problems =
                review.type.storage == .pods
                ? LimitConstraints.pod(review.object["spec"], range) : LimitConstraints.claim(review.object, range)
            guard !problems.isEmpty else { continue }
            var seen = Set<String>()
            let texts = problems.filter { seen.insert($0).inserted }
            throw review.forbidden(texts.count == 1 ? texts[0] : "[\(texts.joined(separator: ", "))]")
        }
    }

    private static func judges(_ review: AdmissionReview) -> Bool {
        if review.operation == .delete || review.object.isBeingDeleted { return false }
        switch review.type.storage {
        case .pods:
            return review.operation == .create ? review.subresource.isEmpty : review.subresource == "resize"
        case .persistentVolumeClaims: return review.subresource.isEmpty
        default: return false
        }
    }

    /// Fills in the defaults of a range, and notes on the pod what it filled in.
    private static func fill(_ pod: inout KubeObject, _ range: KubeObject) {
        var defaults: [(list: String, word: String, amounts: JSONObject)] = []
        for item in range["spec"]["limits"].array ?? [] where item["type"].string == "Container" {
            for (list, source, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
                if let amounts = item[source].object, !amounts.isEmpty { defaults.append((list, word, amounts)) }
            }
        }
        guard !defaults.isEmpty else { return }
        var notes: [String] = []
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            guard var containers = pod["spec"][list].array else { continue }
            for index in containers.indices {
                for (side, kind, amounts) in defaults {
                    var set: [String] = []
                    for (name, amount) in amounts where containers[index]["resources"][side][name] == nil {
                        containers[index]["resources"][side][name] = amount
                        set.append(name)
                    }
                    guard !set.isEmpty else { continue }
                    notes.append(
                        "\(set.sorted().joined(separator: ", ")) \(kind) for \(word) "
                            + (containers[index]["name"].string ?? ""))
                }
            }
            pod["spec"][list] = .array(containers)
        }
        if !notes.isEmpty {
            pod.metadata["annotations"][annotation] = JSON("LimitRanger plugin set: \(notes.joined(separator: "; "))")
        }
    }
}
