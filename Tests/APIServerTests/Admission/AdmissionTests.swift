// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct AdmissionTests {
    @Test func podsGetAnAccountATokenAndTolerations() async throws {
        let fixture = try await Fixture()
        let created = try await fixture.client.create(.pods, pod("web"))
        let spec = created["spec"]
        #expect(spec["serviceAccountName"].string == "default")
        let volume = try #require(spec["volumes"][0])
        #expect(volume["name"].string?.hasPrefix("kube-api-access-") == true)
        #expect(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"].int == 3607)
        #expect(
            spec["containers"][0]["volumeMounts"][0]
                == [
                    "name": volume["name"] ?? .null, "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                ])
        #expect(spec["tolerations"].array?.count == 2)
        #expect(spec["priority"].int == 0)
        #expect(created["status"] == ["phase": "Pending", "qosClass": "BestEffort"])
        var quiet = pod("quiet")
        quiet["spec"]["automountServiceAccountToken"] = false
        #expect(try await fixture.client.create(.pods, quiet)["spec"]["volumes"] == nil)
    }

    @Test func qualityOfServiceFollowsRequestsAndLimits() async throws {
        let fixture = try await Fixture()
        func quality(_ name: String, _ resources: JSON) async throws -> String? {
            var pod = pod(name)
            pod["spec"]["containers"] = [["name": "main", "image": "busybox", "resources": resources]]
            return try await fixture.client.create(.pods, pod)["status"]["qosClass"].string
        }
        #expect(try await quality("g", ["limits": ["cpu": "1", "memory": "1Gi"]]) == "Guaranteed")
        #expect(try await quality("b", ["requests": ["cpu": "100m"]]) == "Burstable")
    }

    @Test func missingAccountsAndPrioritiesAreNamed() async throws {
        let fixture = try await Fixture()
        let path = "/api/v1/namespaces/default/pods"
        var lost = pod("a")
        lost["spec"]["serviceAccountName"] = "nobody"
        let refused = try await fixture.send("POST", path, lost.json)
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string == "pods \"a\" is forbidden: error looking up service account "
                + "default/nobody: serviceaccount \"nobody\" not found")
        var important = pod("b")
        important["spec"]["priorityClassName"] = "vip"
        let unknown = try await fixture.send("POST", path, important.json)
        #expect(
            unknown.json["message"].string == "pods \"b\" is forbidden: no PriorityClass with name vip was found")
        important["spec"]["priorityClassName"] = "system-node-critical"
        let found = try await fixture.send("POST", path, important.json)
        #expect(found.json["spec"]["priority"].int == 2_000_001_000)
    }

    @Test func aPodWaitsForAnAccountThatIsBeingMade() async throws {
        let fixture = try await Fixture()
        var waiting = pod("late")
        waiting["spec"]["serviceAccountName"] = "soon"
        async let created = fixture.client.create(.pods, waiting)
        _ = try await fixture.client.create(
            .serviceAccounts, KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "soon", namespace: "default"))
        #expect(try await created["spec"]["serviceAccountName"].string == "soon")
    }

    @Test func namespacesComeAndGoInSteps() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.client.create(.namespaces, KubeObject(.namespaces, kind: "Namespace", name: "n1"))
        #expect(made["spec"]["finalizers"] == ["kubernetes"])
        #expect(made["status"]["phase"].string == "Active")
        #expect(made.labels == ["kubernetes.io/metadata.name": "n1"])
        let deleted = try await fixture.send("DELETE", "/api/v1/namespaces/n1")
        #expect(deleted.json["status"]["phase"].string == "Terminating")
        let refused = try await fixture.send(
            "POST", "/api/v1/namespaces/n1/configmaps", ["metadata": ["name": "a"]])
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string
                == "configmaps \"a\" is forbidden: unable to create new content in namespace "
                + "n1 because it is being terminated")
        #expect(refused.json["details"]["causes"][0]["reason"].string == "NamespaceTerminating")
        var empty = deleted.json
        empty["spec"]["finalizers"] = .array([])
        #expect(try await fixture.send("PUT", "/api/v1/namespaces/n1/finalize", empty).status == 200)
        #expect(try await fixture.send("GET", "/api/v1/namespaces/n1").status == 404)
        let immortal = try await fixture.send("DELETE", "/api/v1/namespaces/default")
        #expect(
            immortal.json["message"].string == "namespaces \"default\" is forbidden: this namespace may not be deleted")
    }
}

@Suite struct ServiceTests {
    private let path = "/api/v1/namespaces/default/services"

    private func service(_ name: String, _ spec: JSON = [:]) -> JSON {
        var spec = spec
        if spec["ports"] == nil { spec["ports"] = [["port": 80]] }
        return ["metadata": ["name": JSON(name)], "spec": spec]
    }

    @Test func addressesAreGivenAskedForAndReleased() async throws {
        let fixture = try await Fixture()
        let some = try await fixture.send("POST", path, service("a")).json
        let address = try #require(some["spec"]["clusterIP"].string.flatMap { IPAddress($0) })
        #expect(CIDR("10.96.0.0/12")?.contains(address) == true)
        #expect(some["spec"]["clusterIPs"] == [JSON(address.description)])
        #expect(some["spec"]["ipFamilies"] == ["IPv4"])
        #expect(some["spec"]["ipFamilyPolicy"].string == "SingleStack")
        #expect(some["spec"]["ports"][0]["targetPort"].int == 80)
        let asked = try await fixture.send("POST", path, service("b", ["clusterIP": "10.96.0.10"]))
        #expect(asked.json["spec"]["clusterIP"].string == "10.96.0.10")
        let taken = try await fixture.send("POST", path, service("c", ["clusterIP": "10.96.0.10"]))
        #expect(taken.status == 422)
        #expect(taken.json["message"].string?.contains("provided IP is already allocated") == true)
        let outside = try await fixture.send("POST", path, service("c", ["clusterIP": "192.168.1.1"]))
        #expect(outside.json["message"].string?.contains("does not match the current range") == true)
        _ = try await fixture.send("DELETE", path + "/b")
        #expect(try await fixture.send("POST", path, service("c", ["clusterIP": "10.96.0.10"])).status == 201)
        let headless = try await fixture.send("POST", path, service("h", ["clusterIP": "None"]))
        #expect(headless.json["spec"]["clusterIPs"] == ["None"])
    }

    @Test func nodePortsAreGivenKeptAndTakenBack() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", path, service("a", ["type": "NodePort"])).json
        let port = try #require(made["spec"]["ports"][0]["nodePort"].int)
        #expect((30000...32767).contains(port))
        let merge = "application/merge-patch+json"
        let kept = try await fixture.send(
            "PATCH", path + "/a", ["spec": ["ports": [["port": 80, "targetPort": 8080]]]], type: merge)
        #expect(kept.json["spec"]["ports"][0]["nodePort"].int == port)
        #expect(kept.json["spec"]["clusterIP"] == made["spec"]["clusterIP"])
        let clash = try await fixture.send(
            "POST", path, service("b", ["type": "NodePort", "ports": [["port": 80, "nodePort": JSON(port)]]]))
        #expect(clash.status == 422)
        #expect(
            clash.json["details"]["causes"][0]["message"].string
                == "Invalid value: \(port): provided port is already allocated")
        let back = try await fixture.send("PATCH", path + "/a", ["spec": ["type": "ClusterIP"]], type: merge)
        #expect(back.json["spec"]["ports"][0]["nodePort"] == nil)
        let free = try await fixture.send(
            "POST", path, service("b", ["type": "NodePort", "ports": [["port": 80, "nodePort": JSON(port)]]]))
        #expect(free.status == 201)
    }

    @Test func manyServicesMadeAtOnceHaveAddressesOfTheirOwn() async throws {
        let fixture = try await Fixture()
        let addresses = try await withThrowingTaskGroup(of: String.self) { group in
            for index in 0..<40 {
                group.addTask {
                    try await fixture.send("POST", path, service("s\(index)")).json["spec"]["clusterIP"].string ?? ""
                }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(addresses.count == 40)
    }
}
