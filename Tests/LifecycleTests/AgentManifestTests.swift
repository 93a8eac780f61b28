// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

extension LifecycleTests {
    /// What is printed for clusters elsewhere reaches the API by a Service, which the agent itself has yet to make.
    @Test func manifestsAppliedOverTheirOwnClusterDoNotEndIt() async throws {
        try await withCluster("over") { cluster in
            try await cluster.catbird("start")
            let file = "\(cluster.folder)/manifests.yaml"
            let line = try CommandLine()
            let printed = try await line.run(["manifests"]).text
            line.remove()
            try Files.replace(file, with: printed.utf8)
            try await cluster.kubectl("apply", "-f", file)
            try await cluster.kubectl(
                "set", "image", "-n", "kube-system", "daemonset/calico-node",
                "calico-node=docker.io/calico/node:v3.30.0")
            try await cluster.catbird("stop")
            let started = try await cluster.attempt(["start"])
            #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
            #expect(started.text.contains("DNS answers"), "\(started.text)")
            let image = try await cluster.kubectl(
                "get", "-n", "kube-system", "daemonset/calico-node", "-o",
                "jsonpath={.spec.template.spec.containers[0].image}")
            #expect(image == "catbird/node:v1")
        }
    }
}
