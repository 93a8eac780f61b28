// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Kubelet
import Synchronization
import Testing
import Values

/// A value that closures share.
final class ValueBox<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }
    var value: Value {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

@Suite("What a node refuses") struct AdmissionTests {
    @Test("pods that were bound without looking, beyond what the node allows")
    func tooManyPods() async throws {
        try await Rig.with { rig in
            try await rig.running(maxPods: 2) {
                for name in ["a", "b"] {
                    try await rig.create(name, KubeletSuite.simple)
                    try await rig.wait(pod: name) { isReady($0) }
                }
                try await rig.create("c", KubeletSuite.simple)
                let refused = try await rig.wait(pod: "c") { $0?["status"]["phase"].string == "Failed" }
                #expect(refused?["status"]["reason"].string == "OutOfpods")
                let why = "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"
                #expect(refused?["status"]["message"].string == "Pod was rejected: \(why)")
                let event = try await rig.event("OutOfpods", of: "c")
                #expect(event["message"].string == why)
                #expect(event["type"].string == "Warning")
                #expect(rig.runtime.sandboxes().count == 2)
                // It can be deleted, and one that goes makes room.
                try await rig.client.delete(.pods, "c", in: "default")
                try await rig.wait(pod: "c", "gone") { $0 == nil }
                try await rig.client.delete(.pods, "a", in: "default")
                try await rig.wait(pod: "a", "gone") { $0 == nil }
                try await rig.create("d", KubeletSuite.simple)
                try await rig.wait(pod: "d") { isReady($0) }
            }
            // A kubelet that starts anew takes over what runs, though it would not take it in any more.
            try await rig.running(maxPods: 1) {
                try await rig.create("e", KubeletSuite.simple)
                try await rig.wait(pod: "e") { $0?["status"]["reason"].string == "OutOfpods" }
                for name in ["b", "d"] { #expect(isReady(try await rig.client.get(.pods, name, in: "default"))) }
            }
        }
    }

    @Test(
        "what there is no room for, by name",
        arguments: [
            (#"{"cpu":"1500m"}"#, "OutOfcpu", "cpu, requested: 1500, used: 1000, capacity: 2000"),
            (
                #"{"memory":"3Gi"}"#, "OutOfmemory",
                "memory, requested: 3221225472, used: 1073741824, capacity: 2147483648"
            ),
            (
                #"{"ephemeral-storage":"10Gi"}"#, "OutOfephemeral-storage",
                "ephemeral-storage, requested: 10737418240, used: 0, capacity: 1073741824"
            ),
        ])
    func resources(requests: String, reason: String, what: String) throws {
        var load = NodeLoad()
        let allocatable = Resources(["cpu": "2", "memory": "2Gi", "ephemeral-storage": "1Gi", "pods": "10"])
        let first = try pod(
            #"{"metadata":{"uid":"1"},"spec":{"containers":[{"resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]}}"#)
        #expect(load.admit(first, allocatable: allocatable) == nil)
        let next = try pod(
            #"{"metadata":{"uid":"2"},"spec":{"containers":[{"resources":{"requests":\#(requests)}}]}}"#)
        let expected = PodRefusal(reason: reason, message: "Node didn't have enough resource: \(what)")
        #expect(load.admit(next, allocatable: allocatable) == expected)
        // What the node never told of is not the node's to count; what goes makes room.
        let foreign = try pod(
            #"{"metadata":{"uid":"3"},"spec":{"containers":[{"resources":{"requests":{"example.com/x":"9"}}}]}}"#)
        #expect(load.admit(foreign, allocatable: allocatable) == nil)
        load.release("1")
        load.release("3")
        #expect(load.pods == 0)
    }

    @Test(
        "a second pod with a port of the node",
        arguments: [
            (#"{"hostPort":8126}"#, false), (#"{"hostPort":8126,"hostIP":"10.0.0.1"}"#, false),
            (#"{"hostPort":8126,"protocol":"TCP","hostIP":"0.0.0.0"}"#, false),
            (#"{"hostPort":8126,"protocol":"UDP"}"#, true), (#"{"hostPort":8127}"#, true),
            (#"{"hostPort":0}"#, true), (#"{"hostPort":9000,"hostIP":"10.0.0.1"}"#, false),
            (#"{"hostPort":9000,"hostIP":"10.0.0.2"}"#, true), (#"{"hostPort":9000}"#, false),
        ])
    func hostPorts(port: String, isAdmitted: Bool) throws {
        var load = NodeLoad()
        let allocatable = Resources(["pods": "10"])
        let first = try pod(
            #"{"metadata":{"uid":"1"},"spec":{"containers":[{"ports":[{"hostPort":8126},{"hostPort":9000,"hostIP":"10.0.0.1"}]}]}}"#
        )
        #expect(load.admit(first, allocatable: allocatable) == nil)
        let next = try pod(#"{"metadata":{"uid":"2"},"spec":{"containers":[{"ports":[\#(port)]}]}}"#)
        let refusal = PodRefusal(
            reason: "NodePorts",
            message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
        #expect(load.admit(next, allocatable: allocatable) == (isAdmitted ? nil : refusal))
        // The first pod goes, and its ports with it.
        load.release("1")
        #expect(load.admit(next, allocatable: allocatable) == nil)
    }

    @Test(
        "kernel parameters",
        arguments: [
            (#"{"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_syncookies","value":"1"}]}}"#, nil),
            (#"{"securityContext":{"sysctls":[{"name":"kernel/shm_rmid_forced","value":"1"}]}}"#, nil),
            (
                #"{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]}}"#,
                #"forbidden sysctl: "kernel.msgmax" not allowlisted"#
            ),
            (
                #"{"hostNetwork":true,"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_syncookies","value":"1"}]}}"#,
                #"forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled"#
            ),
            (
                #"{"hostIPC":true,"securityContext":{"sysctls":[{"name":"kernel.shm_rmid_forced","value":"1"}]}}"#,
                #"forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled"#
            ),
        ] as [(String, String?)])
    func sysctls(spec: String, refusal: String?) throws {
        let refused = Sysctls.refusal(of: try pod(#"{"metadata":{"uid":"u"},"spec":\#(spec)}"#))
        #expect(refused?.message == refusal)
        if refusal != nil { #expect(refused?.reason == "SysctlForbidden") }
    }

    @Test("a forbidden kernel parameter ends the pod before anything is made of it")
    func forbidden() async throws {
        try await Rig.with { rig in
            try await rig.running {
                try await rig.create(
                    "web",
                    #"{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]},"containers":[{"name":"c","image":"app:1"}]}"#
                )
                let pod = try await rig.wait(pod: "web") { $0?["status"]["phase"].string == "Failed" }
                #expect(pod?["status"]["reason"].string == "SysctlForbidden")
                #expect(
                    pod?["status"]["message"].string
                        == #"Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted"#)
                #expect(rig.runtime.sandboxes().isEmpty)
            }
        }
    }
}
