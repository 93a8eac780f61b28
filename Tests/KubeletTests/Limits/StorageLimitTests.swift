// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeObjects
import Kubelet
import Synchronization
import Testing
import Values

@Suite("Limits of storage") struct StorageLimitTests {
    private static let example = """
        {"spec":{"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Mi"}},{"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"1"}},
         {"name":"free","emptyDir":{}}],"containers":[{"name":"a","resources":{"limits":{"ephemeral-storage":"2Mi"}}},
         {"name":"b","resources":{"limits":{"ephemeral-storage":"4Mi"}}},{"name":"c"}]}}
        """

    @Test(
        "upstream's order and words",
        arguments: [
            (["v": 1 << 20], ["a": 2 << 20], nil),
            (["v": (1 << 20) + 1], [:], #"Usage of EmptyDir volume "v" exceeds the limit "1Mi". "#),
            (["m": 5], [:], nil),
            (
                ["free": 5 << 20], ["c": 2 << 20],
                "Pod ephemeral local storage usage exceeds the total limit of containers 6Mi. "
            ),
            ([:], ["a": 3 << 20], #"Container a exceeded its local ephemeral storage limit "2Mi". "#),
            ([:], ["b": 3 << 20, "c": 1 << 20], nil),
        ] as [([String: Int64], [String: Int64], String?)])
    func excess(volumes: [String: Int64], containers: [String: Int64], message: String?) throws {
        let limits = StorageLimits(of: try pod(Self.example))
        #expect(limits.excess(.init(volumes: volumes, containers: containers)) == message)
    }

    @Test("a pod without limits is not measured")
    func none() throws {
        let limits = StorageLimits(
            of: try pod(#"{"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"a"}]}}"#))
        #expect(limits.isEmpty)
    }

    private static func fill(_ path: String, _ count: Int) throws {
        try NodeFiles.write([UInt8](repeating: 1, count: count), to: path)
    }

    @Test(
        "a pod is evicted for a volume, for what a container writes, and for its logs",
        arguments: ["volume", "layer", "log"])
    func eviction(where place: String) async throws {
        try await Rig.with { rig in
            rig.runtime.state.withLock { $0.layers = rig.directory + "/layers" }
            try await rig.running {
                let spec =
                    place == "volume"
                    ? #"{"containers":[{"name":"c","image":"app:1"}],"volumes":[{"name":"v","emptyDir":{"sizeLimit":"64Ki"}}]}"#
                    : #"{"containers":[{"name":"c","image":"app:1","resources":{"limits":{"ephemeral-storage":"64Ki"}}}]}"#
                try await rig.create("web", spec)
                let ready = try await rig.wait(pod: "web") { isReady($0) }
                let uid = ready?.uid ?? ""
                let folder =
                    switch place {
                    case "volume": "\(rig.directory)/kubelet/pods/\(uid)/volumes/kubernetes.io~empty-dir/v"
                    case "layer": "\(rig.directory)/layers/c1/some/where"
                    default: "\(rig.directory)/pods/default_web_\(uid)/c"
                    }
                try NodeFiles.makeDirectory(folder)
                try Self.fill(folder + "/file", 256 << 10)
                let pod = try await rig.wait(pod: "web", "evicted") { $0?["status"]["phase"].string == "Failed" }
                #expect(pod?["status"]["reason"].string == "Evicted")
                let message =
                    place == "volume"
                    ? #"Usage of EmptyDir volume "v" exceeds the limit "64Ki". "#
                    : "Pod ephemeral local storage usage exceeds the total limit of containers 64Ki. "
                #expect(pod?["status"]["message"].string == message)
                let event = try await rig.event("Evicted", of: "web")
                #expect(event["message"].string == message)
                #expect(event["type"].string == "Warning")
                try await rig.wait(pod: "web", "its container ended") {
                    $0?["status"]["containerStatuses"][0]["state"]["terminated"] != nil
                }
            }
        }
    }
}
