// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct PodUpdateTests {
    struct Row: Sendable {
        let before: String
        let after: String
        let subresource: String?
        let problems: [String]

        init(_ before: String, _ after: String, _ subresource: String?, _ problems: [String]) {
            self.before = before
            self.after = after
            self.subresource = subresource
            self.problems = problems
        }
    }

    /// What the pod is first, the change of it, the path that it is written to, and what is wrong with it.
    static let updates: [Row] = [
        Row("{}", #"{"metadata":{"labels":{"x":"y"}}}"#, nil, []),
        Row("{}", #"{"spec":{"containers":[{"name":"c","image":"j"}]}}"#, nil, []),
        Row(
            "{}", #"{"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]}}"#, nil,
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        ),
        Row(
            #"{"spec":{"activeDeadlineSeconds":5}}"#, #"{"spec":{"activeDeadlineSeconds":9}}"#, nil,
            ["spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"]
        ),
        Row(
            #"{"spec":{"activeDeadlineSeconds":5}}"#, #"{"spec":{"activeDeadlineSeconds":null}}"#, nil,
            ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"]
        ),
        Row(
            #"{"spec":{"tolerations":[{"key":"a","operator":"Exists","effect":"NoExecute"}]}}"#,
            #"{"spec":{"tolerations":[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":3},{"key":"b","operator":"Exists"}]}}"#,
            nil, []
        ),
        Row(
            #"{"spec":{"tolerations":[{"key":"a","operator":"Exists"}]}}"#, #"{"spec":{"tolerations":[]}}"#, nil,
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
        ),
        Row(
            #"{"spec":{"schedulingGates":[{"name":"a"}]}}"#, #"{"spec":{"schedulingGates":[{"name":"b"}]}}"#, nil,
            ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"]
        ),
        Row(
            #"{"spec":{"schedulingGates":[{"name":"a"}]}}"#,
            #"{"spec":{"schedulingGates":[],"nodeSelector":{"x":"y"}}}"#, nil, []
        ),
        Row(
            #"{"spec":{"schedulingGates":[{"name":"a"}],"nodeSelector":{"x":"y"}}}"#,
            #"{"spec":{"nodeSelector":{"x":"z"}}}"#, nil,
            [
                #"spec.nodeSelector: Invalid value: {"x":"z"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)"#
            ]
        ),
        Row(
            "{}", #"{"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}}}"#, nil,
            [
                #"metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set"#,
                "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
            ]
        ),
        Row(
            "{}",
            #"{"spec":{"ephemeralContainers":[{"name":"e","image":"i","targetContainerName":"nope","ports":[{"containerPort":1}]}]}}"#,
            "ephemeralcontainers",
            [
                #"spec.ephemeralContainers[0].targetContainerName: Not found: "nope""#,
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            ]
        ),
        Row("{}", #"{"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}}"#, "ephemeralcontainers", []),
        Row(
            #"{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]}}"#,
            #"{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"2"}}}]}}"#, "resize", []
        ),
        Row(
            #"{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]}}"#,
            #"{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"memory":"1Mi"}}}]}}"#, "resize",
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]
        ),
        Row(
            #"{"spec":{"restartPolicy":"Never"}}"#, #"{"status":{"podIPs":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]}}"#,
            "status",
            [
                #"status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each IP family"#
            ]
        ),
    ]

    @Test(arguments: updates) func rowsOfUpdates(_ row: Row) throws {
        #expect(
            try KindFixtures.problems("Pod", from: row.before, to: row.after, subresource: row.subresource)
                == row.problems, "\(row.after)")
    }

    @Test func anEndedContainerThatIsNotStartedAgainStaysEnded() throws {
        let type = try KindFixtures.type("Pod")
        var old = try KindFixtures.stored(type, #"{"spec":{"restartPolicy":"Never"}}"#)
        old["status"]["containerStatuses"] = [["name": "c", "state": ["terminated": ["exitCode": 1]]]]
        var new = old
        new["status"]["containerStatuses"] = [["name": "c", "state": ["running": [:]]]]
        #expect(
            type.validate(new, old: old, subresource: "status").map(\.description) == [
                "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
            ])
        old["spec"]["restartPolicy"] = "OnFailure"
        #expect(type.validate(new, old: old, subresource: "status") == [])
    }
}
