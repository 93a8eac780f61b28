// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Manifests
import Synchronization
import Testing
import Values

@Suite struct AddonInstallerTests {
    private static func container(_ object: KubeObject) -> JSON? { object["spec"]["template"]["spec"]["containers"][0] }

    @Test func aFirstStartBringsEverything() async throws {
        try await TestAPI.with { api in
            try await api.install()
            for shipped in try api.addons.shipped() {
                let object = try await api.client("test").get(
                    shipped.resource, shipped.object.name, in: shipped.object.namespace)
                #expect(object.labels[Addons.ownerLabel] == "catbird", "\(object.kind) \(object.key)")
                #expect(object.annotations[Addons.versionAnnotation] == Addons.version)
                #expect(object.metadata["managedFields"][0]["manager"].string == "catbird")
                #expect(object.metadata["managedFields"][0]["operation"].string == "Apply")
            }
        }
    }

    @Test func anOlderVersionIsBroughtUpToDate() async throws {
        try await TestAPI.with { api in
            try await api.installAsBefore { object in
                guard object.kind == "Deployment" else { return }
                var container = Self.container(object)
                container["image"] = "catbird/dns:v0"
                container["args"] = ["-old"]
                container["env"] = .array((container["env"].array ?? []) + [["name": "OLD", "value": "1"]])
                object["spec"]["template"]["spec"]["containers"] = .array([container ?? [:]])
                object["spec"]["template"]["spec"]["enableServiceLinks"] = false
            }
            try await api.install()
            let coredns = try await api.client("test").get(.deployments, "coredns", in: "kube-system")
            let container = try #require(Self.container(coredns))
            #expect(container["image"].string == "catbird/dns:v1")
            #expect(container["args"] == ["-conf", "/etc/coredns/Corefile"])
            // What that version set and this one does not is gone.
            let names = container["env"].array?.compactMap { $0["name"].string } ?? []
            #expect(names == ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
            #expect(coredns["spec"]["template"]["spec"]["enableServiceLinks"] != false)
            #expect(coredns.labels[Addons.ownerLabel] == "catbird")
        }
    }

    @Test func whatUsersChangedStays() async throws {
        try await TestAPI.with { api in
            try await api.installAsBefore()
            let kubectl = api.client("kubectl")
            func change(_ resource: GroupVersionResource, _ name: String, _ patch: JSON) async throws {
                try await kubectl.patch(resource, name, in: "kube-system", type: .strategic, patch)
            }
            try await change(
                .deployments, "coredns",
                [
                    "metadata": ["labels": ["team": "net"]],
                    "spec": [
                        "replicas": 3,
                        "template": [
                            "spec": [
                                "nodeSelector": ["disk": "ssd"],
                                "containers": [["name": "coredns", "env": [["name": "MINE", "value": "1"]]]],
                            ]
                        ],
                    ],
                ])
            try await change(.configMaps, "coredns", ["data": ["Corefile": ".:53 { errors }", "mine.db": "x"]])
            try await change(
                .services, "kube-dns", ["metadata": ["annotations": ["mine": "1"]], "spec": ["ports": []]])
            try await kubectl.patch(
                .clusterInformations, "default", type: .merge, ["spec": ["datastoreReady": false]])
            for _ in 0..<2 {
                try await api.install()
                let coredns = try await kubectl.get(.deployments, "coredns", in: "kube-system")
                #expect(coredns["spec"]["replicas"].int == 3)
                #expect(coredns.labels["team"] == "net")
                let pod = coredns["spec"]["template"]["spec"]
                #expect(pod["nodeSelector"]["disk"].string == "ssd")
                #expect(pod["containers"][0]["env"].array?.contains { $0["name"].string == "MINE" } == true)
                let file = try await kubectl.get(.configMaps, "coredns", in: "kube-system")
                #expect(file["data"] == ["Corefile": ".:53 { errors }", "mine.db": "x"])
                let service = try await kubectl.get(.services, "kube-dns", in: "kube-system")
                #expect(service.annotations["mine"] == "1")
                let information = try await kubectl.get(.clusterInformations, "default")
                #expect(information["spec"]["datastoreReady"].bool == false)
            }
        }
    }

    @Test func aFieldOfOursComesBackAndItIsSaid() async throws {
        try await TestAPI.with { api in
            try await api.install()
            try await api.client("kubectl").patch(
                .deployments, "coredns", in: "kube-system", type: .strategic,
                ["spec": ["template": ["spec": ["containers": [["name": "coredns", "image": "other:v1"]]]]]])
            try await api.install()
            let coredns = try await api.client("test").get(.deployments, "coredns", in: "kube-system")
            #expect(Self.container(coredns)["image"].string == "catbird/dns:v1")
            #expect(
                api.log.all.contains {
                    $0.hasPrefix("warning Deployment kube-system/coredns") && $0.contains("kubectl")
                },
                "\(api.log.all)")
        }
    }

    @Test func aSecondStartWritesNothing() async throws {
        try await TestAPI.with { api in
            func versions() async throws -> [String] {
                var versions: [String] = []
                for shipped in try api.addons.shipped() {
                    let object = try await api.client("test").get(
                        shipped.resource, shipped.object.name, in: shipped.object.namespace)
                    versions.append(object.resourceVersion)
                }
                return versions
            }
            try await api.install()
            let before = try await versions()
            try await api.install()
            #expect(try await versions() == before)
        }
    }

    @Test func whatIsNotShippedAnyMoreGoesAndCopiesOfUsersStay() async throws {
        try await TestAPI.with { api in
            try await api.install()
            let old = KubeObject(
                .configMaps, kind: "ConfigMap", name: "old", namespace: "kube-system",
                labels: [Addons.ownerLabel: "catbird", Addons.addonLabel: "coredns"])
            try await api.client("catbird").apply(.configMaps, old, fieldManager: "catbird")
            var copy = old
            copy.metadata["name"] = "copy"
            try await api.client("kubectl").create(.configMaps, copy)
            // Of a version that marked nothing.
            var retired = KubeObject(.clusterRoles, kind: "ClusterRole", name: "calico-node")
            retired["rules"] = [["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]]]
            try await api.client("catbird").create(.clusterRoles, retired)
            try await api.install()
            let names = try await api.client("test").list(.configMaps, in: "kube-system").items.map(\.name)
            #expect(!names.contains("old"))
            #expect(names.contains("copy"))
            let roles = try await api.client("test").list(.clusterRoles).items.map(\.name)
            #expect(!roles.contains("calico-node"))
            #expect(roles.contains("catbird-agent"))
        }
    }

    @Test func whatOthersMadeUnderOurNameStays() async throws {
        try await TestAPI.with { api in
            var own = KubeObject(.configMaps, kind: "ConfigMap", name: "coredns", namespace: "kube-system")
            own["data"] = ["Corefile": "mine"]
            try await api.client("kubectl").create(.configMaps, own)
            try await api.client("kubectl").create(
                .clusterRoles, KubeObject(.clusterRoles, kind: "ClusterRole", name: "calico-node"))
            try await api.install()
            let object = try await api.client("test").get(.configMaps, "coredns", in: "kube-system")
            #expect(object["data"]["Corefile"].string == "mine")
            #expect(object.labels[Addons.ownerLabel] == nil)
            _ = try await api.client("test").get(.clusterRoles, "calico-node")
        }
    }

    /// A pool that its user deleted came back when the look failed, whatever the failure was.
    @Test(arguments: [500, 503, 403, 404])
    func onlyAClearNotFoundIsAFirstStart(code: Int) async throws {
        try await TestAPI.with { api in
            try await api.install()
            try await api.client("kubectl").delete(.ipPools, "default-ipv4-ippool")
            let failures = Mutex(2)
            let transport = InterferingTransport(inner: api.transport) { request in
                guard request.method == "GET", request.path.hasSuffix("/clusterinformations/default"),
                    failures.withLock({ left in
                        defer { left -= 1 }
                        return left > 0
                    })
                else { return nil }
                // A 404 of something on the way, which is no Status.
                return APIResponse(status: code, body: .bytes(Array("page not found".utf8)))
            }
            try await api.install(KubeClient(transport, userAgent: "catbird"))
            #expect(try await api.client("test").list(.ipPools).items.isEmpty)
            #expect(failures.withLock { $0 } < 0)
        }
    }
}
