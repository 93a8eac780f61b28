// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct LimitRangerTests {
    private let pods = "/api/v1/namespaces/default/pods"

    private func range(_ fixture: Fixture, _ limits: JSON, name: String = "range") async throws -> Fixture.Answer {
        try await fixture.send(
            "POST", "/api/v1/namespaces/default/limitranges",
            ["metadata": ["name": JSON(name)], "spec": ["limits": limits]])
    }

    private func body(_ name: String, _ containers: [String: JSON]) -> JSON {
        var pod = pod(name)
        pod["spec"]["containers"] = .array(
            containers.sorted { $0.key < $1.key }.map {
                ["name": JSON($0.key), "image": "busybox", "resources": $0.value]
            })
        return pod.json
    }

    @Test func containersGetTheDefaultsOfTheirNamespace() async throws {
        let fixture = try await Fixture()
        let made = try await range(
            fixture,
            [
                [
                    "type": "Container", "max": ["cpu": "2"], "default": ["memory": "1Gi"],
                    "defaultRequest": ["cpu": "100m"],
                ]
            ])
        // Of the range itself too: the limit comes from the maximum, the request from the limit.
        let item = made.json["spec"]["limits"][0]
        #expect(item["default"] == ["memory": "1Gi", "cpu": "2"])
        #expect(item["defaultRequest"] == ["cpu": "100m", "memory": "1Gi"])
        let pod = try await fixture.send("POST", pods, body("a", ["c": ["requests": ["cpu": "1"]], "d": [:]])).json
        let first = pod["spec"]["containers"][0]["resources"]
        #expect(first == ["requests": ["cpu": "1", "memory": "1Gi"], "limits": ["memory": "1Gi", "cpu": "2"]])
        #expect(pod["status"]["qosClass"].string == "Burstable")
        #expect(
            pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"].string
                == "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c; "
                + "cpu, memory request for container d; cpu, memory limit for container d")
        #expect(try await fixture.send("DELETE", "/api/v1/namespaces/default/limitranges/range").status == 200)
        let free = try await fixture.send("POST", pods, body("b", ["c": [:]])).json
        #expect(free["spec"]["containers"][0]["resources"] == [:])
        #expect(free["metadata"]["annotations"] == nil)
    }

    @Test func whatLiesOutsideIsRefusedInUpstreamsWords() async throws {
        let fixture = try await Fixture()
        _ = try await range(
            fixture,
            [
                [
                    "type": "Container", "max": ["cpu": "2"], "min": ["cpu": "100m", "memory": "64Mi"],
                    "maxLimitRequestRatio": ["cpu": "4"],
                ],
                ["type": "Pod", "max": ["memory": "1Gi"]],
            ])
        func refusal(_ resources: JSON) async throws -> String? {
            let answer = try await fixture.send("POST", pods, body("a", ["c": resources]))
            #expect(answer.status == 403)
            return answer.json["message"].string
        }
        let fits: JSON = ["cpu": "1", "memory": "512Mi"]
        #expect(try await fixture.send("POST", pods, body("ok", ["c": ["limits": fits]])).status == 201)
        #expect(
            try await refusal(["limits": ["cpu": "3", "memory": "512Mi"]])
                == "pods \"a\" is forbidden: maximum cpu usage per Container is 2, but limit is 3")
        #expect(
            try await refusal(["limits": fits, "requests": ["cpu": "200m", "memory": "32Mi"]])
                == "pods \"a\" is forbidden: [minimum memory usage per Container is 64Mi, but request is 32Mi, cpu max "
                + "limit to request ratio per Container is 4, but provided ratio is 5.000000]")
        #expect(
            try await refusal(["limits": ["cpu": "1"]])
                == "pods \"a\" is forbidden: maximum memory usage per Pod is 1Gi.  No limit is specified")
        let two = try await fixture.send(
            "POST", pods, body("two", ["c": ["limits": fits], "d": ["limits": ["cpu": "1", "memory": "600Mi"]]]))
        #expect(
            two.json["message"].string
                == "pods \"two\" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 1112Mi")
    }

    @Test func claimsHaveRangesToo() async throws {
        let fixture = try await Fixture()
        _ = try await range(
            fixture, [["type": "PersistentVolumeClaim", "min": ["storage": "1Gi"], "max": ["storage": "2Gi"]]])
        func send(_ size: String) async throws -> Fixture.Answer {
            try await fixture.send(
                "POST", "/api/v1/namespaces/default/persistentvolumeclaims",
                [
                    "metadata": ["name": "data"],
                    "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": JSON(size)]]],
                ])
        }
        #expect(
            try await send("3Gi").json["message"].string == "persistentvolumeclaims \"data\" is forbidden: "
                + "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
        #expect(
            try await send("1Mi").json["message"].string == "persistentvolumeclaims \"data\" is forbidden: "
                + "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")
        #expect(try await send("2Gi").status == 201)
    }

    @Test func rangesThatContradictThemselvesAreRefused() async throws {
        let fixture = try await Fixture()
        let answer = try await range(
            fixture,
            [
                ["type": "Container", "min": ["cpu": "2"], "max": ["cpu": "1"]],
                ["type": "Container"], ["type": "Pod", "default": ["cpu": "1"]], ["type": "PersistentVolumeClaim"],
            ])
        #expect(answer.status == 422)
        let causes = (answer.json["details"]["causes"].array ?? []).map {
            "\($0["field"].string ?? ""): \($0["message"].string ?? "")"
        }
        #expect(
            causes.contains("spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"))
        #expect(causes.contains("spec.limits[1].type: Duplicate value: \"Container\""))
        #expect(causes.contains("spec.limits[2].default: Forbidden: may not be specified when `type` is 'Pod'"))
        #expect(
            causes.contains(
                "spec.limits[3].limits: Required value: either minimum or maximum storage value is required, but neither "
                    + "was provided"))
    }
}
