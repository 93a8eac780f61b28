// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing
import Values

@Suite struct HostPortTests {
    private static func spec(_ port: JSON, list: String = "containers", restarts: String? = nil) -> JSON {
        var container: JSON = ["name": "c", "ports": [port]]
        if let restarts { container["restartPolicy"] = JSON(restarts) }
        return [list: [container]]
    }

    /// As the scheduler and the kubelet ask.
    private static func conflict(_ left: JSON, _ right: JSON) -> Bool {
        AskedHostPort.asked(by: spec(left)).contains { port in
            AskedHostPort.asked(by: spec(right)).contains { $0.conflicts(with: port) }
        }
    }

    /// As the agent asks, of pods with an address of each family.
    private static func mapped(_ left: JSON, _ right: JSON) throws -> Bool {
        func ports(_ port: JSON, _ pod: [String]) throws -> [HostPort] {
            try HostPort.read(
                [
                    [
                        "hostPort": port["hostPort"] ?? .null, "containerPort": 80, "hostIP": port["hostIP"] ?? "",
                        "protocol": port["protocol"] ?? "TCP",
                    ]
                ], pod.compactMap { IPAddress($0) })
        }
        let right = try ports(right, ["10.0.0.2", "fd00::2"])
        return try ports(left, ["10.0.0.1", "fd00::1"]).contains { port in right.contains { $0.conflicts(with: port) } }
    }

    private struct Case: Sendable {
        let left: JSON
        let right: JSON
        let expected: Bool

        init(_ left: JSON, _ right: JSON, _ expected: Bool) {
            (self.left, self.right, self.expected) = (left, right, expected)
        }
    }

    private static let cases: [Case] = [
        Case(["hostPort": 80], ["hostPort": 80], true),
        Case(["hostPort": 80], ["hostPort": 81], false),
        Case(["hostPort": 80], ["hostPort": 80, "protocol": "UDP"], false),
        Case(["hostPort": 80, "protocol": "TCP"], ["hostPort": 80], true),
        Case(["hostPort": 80, "hostIP": "127.0.0.1"], ["hostPort": 80], true),
        Case(["hostPort": 80, "hostIP": "127.0.0.1"], ["hostPort": 80, "hostIP": "0.0.0.0"], true),
        Case(["hostPort": 80, "hostIP": "127.0.0.1"], ["hostPort": 80, "hostIP": "127.0.0.2"], false),
        Case(["hostPort": 80, "hostIP": "::1"], ["hostPort": 80, "hostIP": "0:0:0:0:0:0:0:1"], true),
        Case(["hostPort": 80, "hostIP": "::1"], ["hostPort": 80, "hostIP": "::"], true),
        Case(["hostPort": 80, "hostIP": "127.0.0.1"], ["hostPort": 80, "hostIP": "::"], false),
        Case(["hostPort": 80, "hostIP": "::"], ["hostPort": 80], true),
        Case(["hostPort": 0], ["hostPort": 0], false),
        Case(["containerPort": 80], ["containerPort": 80], false),
    ]

    @Test(arguments: cases) private func conflicts(_ sample: Case) throws {
        let (left, right, expected) = (sample.left, sample.right, sample.expected)
        #expect(Self.conflict(left, right) == expected)
        #expect(Self.conflict(right, left) == expected)
        #expect(try Self.mapped(left, right) == expected)
        #expect(try Self.mapped(right, left) == expected)
    }

    /// 0.0.0.0 is for the spec all addresses, as in Kubernetes; a mapping that has got its family is IPv4's alone.
    @Test func theWildcardOfIPv4() throws {
        let (left, right): (JSON, JSON) = (
            ["hostPort": 80, "hostIP": "0.0.0.0"], ["hostPort": 80, "hostIP": "::1"]
        )
        #expect(Self.conflict(left, right))
        #expect(try !Self.mapped(left, right))
    }

    @Test func whichContainersCount() {
        let port: JSON = ["hostPort": 80]
        #expect(AskedHostPort.asked(by: Self.spec(port)).count == 1)
        #expect(AskedHostPort.asked(by: Self.spec(port, list: "initContainers")).isEmpty)
        #expect(AskedHostPort.asked(by: Self.spec(port, list: "initContainers", restarts: "Never")).isEmpty)
        #expect(AskedHostPort.asked(by: Self.spec(port, list: "initContainers", restarts: "Always")).count == 1)
        #expect(AskedHostPort.asked(by: nil).isEmpty)
    }
}
