// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// What is filled in from classes, and what is refused because of them.
@Suite struct ClassTests {
    private let base = "/api/v1/namespaces/default"
    private let merge = "application/merge-patch+json"

    private func storageClass(_ fixture: Fixture, _ name: String, isDefault: Bool, grows: Bool = false) async throws {
        let made = try await fixture.send(
            "POST", "/apis/storage.k8s.io/v1/storageclasses",
            [
                "metadata": [
                    "name": JSON(name),
                    "annotations": ["storageclass.kubernetes.io/is-default-class": JSON(isDefault ? "true" : "false")],
                ],
                "provisioner": "example.com/disk", "allowVolumeExpansion": JSON(grows),
            ])
        #expect(made.status == 201)
    }

    private func claim(_ name: String, _ spec: JSON = [:]) -> JSON {
        var spec = spec
        spec["accessModes"] = ["ReadWriteOnce"]
        spec["resources"] = ["requests": ["storage": "1Gi"]]
        return ["metadata": ["name": JSON(name)], "spec": spec]
    }

    @Test func claimsGetTheDefaultClassAndAFinalizer() async throws {
        let fixture = try await Fixture()
        let path = "\(base)/persistentvolumeclaims"
        #expect(try await fixture.send("POST", path, claim("none")).json["spec"]["storageClassName"] == nil)
        try await storageClass(fixture, "plain", isDefault: false)
        try await storageClass(fixture, "b", isDefault: true)
        let given = try await fixture.send("POST", path, claim("given")).json
        #expect(given["spec"]["storageClassName"].string == "b")
        #expect(given["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"])
        // Of two made in the same second the first by name is taken; whichever is newer comes first.
        try await storageClass(fixture, "a", isDefault: true)
        let newest = try await fixture.send("POST", path, claim("newest")).json["spec"]["storageClassName"].string
        #expect(newest == "a")
        let empty = try await fixture.send("POST", path, claim("empty", ["storageClassName": ""])).json
        #expect(empty["spec"]["storageClassName"].string?.isEmpty == true)
        let volume = try await fixture.send(
            "POST", "/api/v1/persistentvolumes",
            [
                "metadata": ["name": "v"],
                "spec": [
                    "accessModes": ["ReadWriteOnce"], "capacity": ["storage": "1Gi"], "hostPath": ["path": "/data"],
                ],
            ])
        #expect(volume.json["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"])
    }

    @Test func claimsGrowOnlyWhereTheirClassLetsThem() async throws {
        let fixture = try await Fixture()
        let path = "\(base)/persistentvolumeclaims"
        try await storageClass(fixture, "fixed", isDefault: false)
        try await storageClass(fixture, "growing", isDefault: false, grows: true)
        func resize(_ name: String, _ size: String) async throws -> Fixture.Answer {
            try await fixture.send(
                "PATCH", "\(path)/\(name)", ["spec": ["resources": ["requests": ["storage": JSON(size)]]]], type: merge)
        }
        for name in ["fixed", "growing"] {
            _ = try await fixture.send("POST", path, claim(name, ["storageClassName": JSON(name)]))
            #expect(try await resize(name, "2Gi").status == 422, "not bound yet")
            _ = try await fixture.send(
                "PATCH", "\(path)/\(name)/status",
                ["status": ["phase": "Bound", "capacity": ["storage": "1Gi"]]], type: merge)
        }
        let refused = try await resize("fixed", "2Gi")
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string == "persistentvolumeclaims \"fixed\" is forbidden: only dynamically "
                + "provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
        #expect(try await resize("growing", "2Gi").status == 200)
        let shrunk = try await resize("growing", "500Mi")
        #expect(shrunk.status == 422)
        #expect(shrunk.json["message"].string?.contains("field can not be less than status.capacity") == true)
        let moved = try await fixture.send(
            "PATCH", "\(path)/growing", ["spec": ["accessModes": ["ReadOnlyMany"]]], type: merge)
        #expect(moved.json["message"].string?.contains("spec is immutable after creation") == true)
    }

    @Test func ingressesGetTheDefaultClass() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send(
            "POST", "/apis/networking.k8s.io/v1/ingressclasses",
            [
                "metadata": [
                    "name": "nginx", "annotations": ["ingressclass.kubernetes.io/is-default-class": "true"],
                ], "spec": ["controller": "example.com/nginx"],
            ])
        func send(_ name: String, _ annotations: [String: String]) async throws -> JSON {
            try await fixture.send(
                "POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
                [
                    "metadata": ["name": JSON(name), "annotations": JSON(annotations)],
                    "spec": ["defaultBackend": ["service": ["name": "s", "port": ["number": 80]]]],
                ]
            ).json
        }
        #expect(try await send("a", [:])["spec"]["ingressClassName"].string == "nginx")
        #expect(try await send("b", ["kubernetes.io/ingress.class": "old"])["spec"]["ingressClassName"] == nil)
    }

    @Test func runtimeClassesSayWhatTheirPodsCostAndWhereTheyRun() async throws {
        let fixture = try await Fixture()
        func send(_ name: String, _ spec: JSON) async throws -> Fixture.Answer {
            var pod = pod(name)
            for (key, value) in spec.object ?? [:] { pod["spec"][key] = value }
            return try await fixture.send("POST", "\(base)/pods", pod.json)
        }
        let unknown = try await send("a", ["runtimeClassName": "vm"])
        #expect(unknown.status == 403)
        #expect(
            unknown.json["message"].string == "pods \"a\" is forbidden: pod rejected: RuntimeClass \"vm\" not found")
        let toleration: JSON = ["key": "vm", "operator": "Exists", "effect": "NoSchedule"]
        _ = try await fixture.send(
            "POST", "/apis/node.k8s.io/v1/runtimeclasses",
            [
                "metadata": ["name": "vm"], "handler": "kata", "overhead": ["podFixed": ["cpu": "250m"]],
                "scheduling": ["nodeSelector": ["vm": "yes"], "tolerations": [toleration]],
            ])
        let made = try await send("a", ["runtimeClassName": "vm", "nodeSelector": ["zone": "z"]]).json
        #expect(made["spec"]["overhead"] == ["cpu": "250m"])
        #expect(made["spec"]["nodeSelector"] == ["zone": "z", "vm": "yes"])
        #expect(made["spec"]["tolerations"].array?.contains(toleration) == true)
        let elsewhere = try await send("b", ["runtimeClassName": "vm", "nodeSelector": ["vm": "no"]])
        #expect(
            elsewhere.json["message"].string == "pods \"b\" is forbidden: conflict: "
                + "runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no")
        let orphan = try await send("c", ["overhead": ["cpu": "1"]])
        #expect(
            orphan.json["message"].string == "pods \"c\" is forbidden: pod rejected: Pod Overhead set without "
                + "corresponding RuntimeClass defined Overhead")
    }
}
