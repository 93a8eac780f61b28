// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Testing

@testable import Kubelet

@Suite("Pod machine") struct PodMachineTests {
    private static let one =
        #"{"terminationGracePeriodSeconds":7,"containers":[{"name":"c","image":"app:1"}]}"#
    private static let order =
        #"{"initContainers":[{"name":"i","image":"a"},{"name":"j","image":"a"}],"containers":[{"name":"c","image":"a"},{"name":"d","image":"a"}]}"#
    private static let probed =
        #"{"terminationGracePeriodSeconds":7,"containers":[{"name":"c","image":"a","startupProbe":{"exec":{"command":["s"]}},"livenessProbe":{"exec":{"command":["l"]},"terminationGracePeriodSeconds":3},"readinessProbe":{"exec":{"command":["r"]}}}]}"#
    private static func policy(_ policy: String) -> String {
        #"{"restartPolicy":"\#(policy)","containers":[{"name":"c","image":"a"}]}"#
    }
    /// Until the one container runs.
    private static let up: [(PodStep, [String], String)] = [
        (.look, ["volumes", "sandbox 0", "wake 1000 ms"], "c=ContainerCreating"),
        (.volumes, ["wake 1000 ms"], "c=ContainerCreating"),
        (.sandbox, ["start c 0"], "c=ContainerCreating"),
        (.image("c"), [], "c=ContainerCreating"),
        (.started("c"), [], "c=ready"),
    ]

    static let stories: [PodStory] = starts + restarts + probes + ends + sandboxes

    private static let starts: [PodStory] = [
        PodStory(
            title: "init containers one after the other, then the others at once", spec: order,
            steps: [
                (
                    .look, ["volumes", "sandbox 0", "wake 1000 ms"],
                    "c=PodInitializing d=PodInitializing i=PodInitializing j=PodInitializing"
                ),
                (.sandbox, ["wake 1000 ms"], "c=PodInitializing d=PodInitializing i=PodInitializing j=PodInitializing"),
                (.volumes, ["start i 0"], "c=PodInitializing d=PodInitializing i=PodInitializing j=PodInitializing"),
                (.started("i"), [], "c=PodInitializing d=PodInitializing i=running j=PodInitializing"),
                (.exits("i", 0), ["start j 0"], "c=PodInitializing d=PodInitializing i=0 j=PodInitializing"),
                (.started("j"), [], "c=PodInitializing d=PodInitializing i=0 j=running"),
                (.exits("j", 1), ["start j 1"], "c=PodInitializing d=PodInitializing i=0 j=1"),
                (.started("j"), [], "c=PodInitializing d=PodInitializing i=0 j=running"),
                (.exits("j", 0), ["start c 0", "start d 0"], "c=PodInitializing d=PodInitializing i=0 j=0"),
                (.started("d"), [], "c=PodInitializing d=ready i=0 j=0"),
                (.started("c"), [], "c=ready d=ready i=0 j=0"),
            ]),
        PodStory(
            title: "an init container of a pod that is never restarted fails, and the pod with it",
            spec:
                #"{"restartPolicy":"Never","initContainers":[{"name":"i","image":"a"}],"containers":[{"name":"c","image":"a"}]}"#,
            steps: [
                (.look, ["volumes", "sandbox 0", "wake 1000 ms"], "c=PodInitializing i=PodInitializing"),
                (.sandbox, ["wake 1000 ms"], "c=PodInitializing i=PodInitializing"),
                (.volumes, ["start i 0"], "c=PodInitializing i=PodInitializing"),
                (.started("i"), [], "c=PodInitializing i=running"),
                (.exits("i", 3), ["release"], "c=PodInitializing i=3"),
                (.released(true), [], "c=PodInitializing i=3"),
            ]),
        PodStory(
            title: "a sidecar is refused, and said",
            spec:
                #"{"initContainers":[{"name":"s","image":"a","restartPolicy":"Always"}],"containers":[{"name":"c","image":"a"}]}"#,
            steps: [
                (.look, ["event Failed"], "c=CreateContainerConfigError s=CreateContainerConfigError"),
                (.look, [], "c=CreateContainerConfigError s=CreateContainerConfigError"),
            ]),
        PodStory(
            title: "an image that cannot be had is asked for again when its back-off ends", spec: one,
            steps: Array(up.prefix(3)) + [
                (.pullFails("c"), ["wake 20000 ms"], "c=ImagePullBackOff"),
                (.pass(19), ["wake 1000 ms"], "c=ImagePullBackOff"),
                (.pass(1), ["start c 0"], "c=ImagePullBackOff"),
                (.started("c"), [], "c=ready"),
            ]),
        PodStory(
            title: "a start that fails is tried again, and at once when an object came that it may have missed",
            spec: one,
            steps: Array(up.prefix(3)) + [
                (.startFails("c"), ["event Failed c", "wake 2000 ms"], "c=RunContainerError"),
                (.pass(2), ["start c 0"], "c=RunContainerError"),
                (.startFails("c"), ["event Failed c", "wake 10000 ms"], "c=RunContainerError"),
                (.objects, ["volumes"], "c=RunContainerError"),
                (.volumes, ["wake 10000 ms"], "c=RunContainerError"),
                (.pass(10), ["start c 0"], "c=RunContainerError"),
                (.started("c"), [], "c=ready"),
            ]),
        PodStory(
            title: "volumes that cannot be set up do not keep the sandbox from being made", spec: one,
            steps: [
                (.look, ["volumes", "sandbox 0", "wake 1000 ms"], "c=ContainerCreating"),
                (.noVolumes, ["event FailedMount", "wake 500 ms"], "c=ContainerCreating"),
                (.sandbox, ["wake 500 ms"], "c=ContainerCreating"),
                (.pass(0.5), ["volumes"], "c=ContainerCreating"),
                (.noVolumes, ["wake 1000 ms"], "c=ContainerCreating"),
                (.objects, ["volumes"], "c=ContainerCreating"),
                (.volumes, ["start c 0"], "c=ContainerCreating"),
            ]),
        PodStory(
            title: "what another kubelet started is taken over as it is", spec: one,
            found: [PodSight.Box(id: "u-3", attempt: 3, isReady: true, addresses: ["10.0.0.9"])],
            containers: [PodBench.container("c", 4, in: 3, .running)],
            steps: [
                (.look, ["volumes"], "c=ready"),
                (.volumes, [], "c=ready"),
                (.exits("c", 0), ["start c 5"], "c=0"),
            ]),
        PodStory(
            title: "a container that was created and never ran is made anew under its number", spec: one,
            found: [PodSight.Box(id: "u-0", attempt: 0, isReady: true, addresses: ["10.0.0.9"])],
            containers: [PodBench.container("c", 2, in: 0, .created)],
            steps: [
                (.look, ["volumes", "wake 1000 ms"], "c=ContainerCreating"),
                (.volumes, ["start c 2 for c-0-2"], "c=ContainerCreating"),
            ]),
    ]

    private static let restarts: [PodStory] = [
        PodStory(
            title: "Always: at once, then after 10 and 20 seconds, and anew after ten good minutes", spec: one,
            steps: up + [
                (.exits("c", 0), ["start c 1"], "c=0"),
                (.started("c"), [], "c=ready"),
                (.exits("c", 1), ["event BackOff c", "wake 10000 ms"], "c=CrashLoopBackOff"),
                (.pass(4), ["wake 6000 ms"], "c=CrashLoopBackOff"),
                (.pass(6), ["start c 2"], "c=CrashLoopBackOff"),
                (.started("c"), [], "c=ready"),
                (.exits("c", 1), ["event BackOff c", "wake 20000 ms"], "c=CrashLoopBackOff"),
                (.pass(20), ["start c 3"], "c=CrashLoopBackOff"),
                (.started("c"), [], "c=ready"),
                (.pass(601), [], "c=ready"),
                (.exits("c", 1), ["start c 4"], "c=1"),
            ]),
        PodStory(
            title: "OnFailure: a failure is repaired, a success is the end", spec: policy("OnFailure"),
            steps: up + [
                (.exits("c", 1), ["start c 1"], "c=1"),
                (.started("c"), [], "c=ready"),
                (.exits("c", 0), ["release"], "c=0"),
                (.released(true), [], "c=0"),
            ]),
        PodStory(
            title: "Never: a failure is the end, and what it held is given back", spec: policy("Never"),
            steps: up + [
                (.exits("c", 1), ["release"], "c=1"),
                (.released(false), ["event FailedKillPod", "wake 500 ms"], "c=1"),
                (.pass(0.5), ["release"], "c=1"),
                (.released(true), [], "c=1"),
                (.deleted(7), ["removeLogs", "delete"], "c=1"),
                (.erased(true), ["finish"], "c=1"),
            ]),
    ]

    private static let probes: [PodStory] = [
        PodStory(
            title: "startup before the others, readiness comes and goes, liveness restarts with its own grace",
            spec: probed,
            steps: Array(up.prefix(4)) + [
                (.started("c"), ["probe c startupProbe"], "c=running"),
                (.probed("c", .readiness, true), [], "c=running"),
                (.probed("c", .startup, true), ["probe c livenessProbe readinessProbe"], "c=ready"),
                (.probed("c", .readiness, false), [], "c=running"),
                (.probed("c", .readiness, true), [], "c=ready"),
                (.probed("c", .liveness, false), ["event Killing c", "stop c 3"], "c=ready"),
                (.exits("c", 137), ["start c 1"], "c=137"),
                (.started("c"), ["probe c startupProbe"], "c=running"),
                (.probed("c", .startup, false), ["event Killing c", "stop c 7"], "c=running"),
            ]),
        PodStory(
            title: "a pod that is being deleted is not killed for being dead", spec: probed,
            steps: Array(up.prefix(4)) + [
                (.started("c"), ["probe c startupProbe"], "c=running"),
                (.deleted(5), ["event Killing c", "endProbes c livenessProbe startupProbe", "stop c 5"], "c=running"),
                (.probed("c", .startup, false), [], "c=running"),
            ]),
    ]

    private static let ends: [PodStory] = [
        PodStory(
            title: "deletion: stopped, given back, forgotten", spec: one,
            steps: up + [
                (.deleted(7), ["event Killing c", "endProbes c livenessProbe", "stop c 7"], "c=ready"),
                (.look, [], "c=ready"),
                (.deleted(2), ["stop c 2"], "c=ready"),
                (.exits("c", 143), ["release"], "c=143"),
                (.released(true), ["removeLogs", "delete"], "c=143"),
                (.erased(false), ["wake 1000 ms"], "c=143"),
                (.pass(1), ["removeLogs", "delete"], "c=143"),
                (.erased(true), ["finish"], "c=143"),
                (.look, [], "c=143"),
            ]),
        PodStory(
            title: "the hook before the stop runs once, and not without grace",
            spec: #"{"containers":[{"name":"c","image":"a","lifecycle":{"preStop":{"sleep":{"seconds":3}}}}]}"#,
            steps: up + [
                (.deleted(9), ["event Killing c", "endProbes c livenessProbe", "stop c 9 hook"], "c=ready"),
                (.deleted(0), ["stop c 0"], "c=ready"),
            ]),
        PodStory(
            title: "deletion while the plugin makes the sandbox: its end is waited for, and it is given back",
            spec: one,
            steps: Array(up.prefix(2)) + [
                (.deleted(7), [], "c=ContainerCreating"),
                (.sandbox, ["release"], "c=ContainerCreating"),
                (.released(true), ["removeLogs", "delete"], "c=ContainerCreating"),
            ]),
        PodStory(
            title: "deletion while the image is pulled: nobody waits for it", spec: one,
            steps: Array(up.prefix(3)) + [
                (.deleted(7), ["cancel c", "release"], "c=ContainerCreating"),
                (.cancelled("c"), [], "c=ContainerCreating"),
                (.released(true), ["removeLogs", "delete"], "c=ContainerCreating"),
            ]),
        PodStory(
            title: "deletion while the container is started: what came of it is stopped", spec: one,
            steps: Array(up.prefix(4)) + [
                (.deleted(7), ["cancel c"], "c=ContainerCreating"),
                (.started("c"), ["event Killing c", "endProbes c livenessProbe", "stop c 7"], "c=ready"),
                (.exits("c", 0), ["release"], "c=0"),
            ]),
        PodStory(
            title: "deletion in a back-off", spec: one,
            steps: up + [
                (.exits("c", 1), ["start c 1"], "c=1"),
                (.startFails("c"), ["event Failed c", "wake 10000 ms"], "c=RunContainerError"),
                (.deleted(7), ["release"], "c=RunContainerError"),
            ]),
        PodStory(
            title: "a pod that the API has forgotten is ended and not reported", spec: one,
            steps: up + [
                (.vanished, ["event Killing c", "endProbes c livenessProbe", "stop c 1"], "c=ready"),
                (.exits("c", 143), ["release"], "c=143"),
                (.released(true), ["removeLogs", "finish"], "c=143"),
            ]),
        PodStory(
            title: "an eviction ends the pod, which stays in the API", spec: one,
            steps: up + [
                (.evicted, ["event Evicted", "event Killing c", "endProbes c livenessProbe", "stop c 2"], "c=ready"),
                (.exits("c", 137), ["release"], "c=137"),
                (.released(true), [], "c=137"),
            ]),
        PodStory(
            title: "a deadline ends the pod",
            spec:
                #"{"activeDeadlineSeconds":30,"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"a"}]}"#,
            steps: [
                (.look, ["volumes", "sandbox 0", "wake 1000 ms"], "c=ContainerCreating"),
                (.volumes, ["wake 1000 ms"], "c=ContainerCreating"),
                (.sandbox, ["start c 0", "wake 30000 ms"], "c=ContainerCreating"),
                (.started("c"), ["wake 30000 ms"], "c=ready"),
                (
                    .pass(30), ["event DeadlineExceeded", "event Killing c", "endProbes c livenessProbe", "stop c 1"],
                    "c=ready"
                ),
                (.exits("c", 0), ["release"], "c=0"),
            ]),
    ]

    private static let sandboxes: [PodStory] = [
        PodStory(
            title: "the former sandbox goes before the next is made, which may want its address", spec: one,
            steps: up + [
                (.lost, ["event SandboxChanged", "remove u-0"], "c=137"),
                (.formersStay(true), ["event FailedKillPod", "event FailedCreatePodSandBox", "wake 500 ms"], "c=137"),
                (.pass(0.5), ["remove u-0"], "c=137"),
                (.formersStay(true), ["wake 1000 ms"], "c=137"),
                // The agent listens again.
                (.network(nil), ["remove u-0"], "c=137"),
                (.formersGone, ["sandbox 1"], "c=137"),
                (.sandbox, ["start c 1"], "c=137"),
                (.started("c"), [], "c=ready"),
            ]),
        PodStory(
            title: "what holds no address keeps nobody waiting, and is tried again", spec: one,
            steps: up + [
                (.lost, ["event SandboxChanged", "remove u-0"], "c=137"),
                (.formersStay(false), ["event FailedKillPod", "sandbox 1"], "c=137"),
                (.sandbox, ["start c 1", "wake 500 ms"], "c=137"),
                (.started("c"), ["wake 500 ms"], "c=ready"),
                (.pass(0.5), ["remove u-0"], "c=ready"),
                (.formersGone, [], "c=ready"),
            ]),
        PodStory(
            title: "a kubelet that finds the sandbox gone begins anew, with the init containers",
            spec: #"{"initContainers":[{"name":"i","image":"a"}],"containers":[{"name":"c","image":"a"}]}"#,
            found: [PodSight.Box(id: "u-0", attempt: 0, isReady: false, addresses: [])],
            status:
                #"{"initContainerStatuses":[{"name":"i","restartCount":0,"state":{"terminated":{"exitCode":0}}}],"containerStatuses":[{"name":"c","restartCount":2,"state":{"running":{"startedAt":"2030-03-17T17:40:00Z"}}}]}"#,
            steps: [
                (.look, ["event SandboxChanged", "volumes", "remove u-0"], "c=137 i=PodInitializing"),
                (.volumes, [], "c=137 i=PodInitializing"),
                (.formersGone, ["sandbox 1"], "c=137 i=PodInitializing"),
                (.sandbox, ["start i 1"], "c=137 i=PodInitializing"),
                (.started("i"), [], "c=137 i=running"),
                (.exits("i", 0), ["start c 3"], "c=137 i=0"),
            ]),
        PodStory(
            title: "a sandbox that goes while a container is started: the start is given up", spec: one,
            steps: Array(up.prefix(4)) + [
                (.lost, ["event SandboxChanged", "cancel c", "remove u-0", "wake 1000 ms"], "c=ContainerCreating"),
                (.cancelled("c"), ["wake 1000 ms"], "c=ContainerCreating"),
                (.formersGone, ["sandbox 1", "wake 1000 ms"], "c=ContainerCreating"),
            ]),
        PodStory(
            title:
                "without a network nothing is tried; an agent that is not up is tried ever later, and at once when it is",
            spec: one,
            steps: [
                (.network("no network configuration"), ["event NetworkNotReady"], "c=ContainerCreating"),
                (.network("no network configuration"), [], "c=ContainerCreating"),
                (.network(nil), ["volumes", "sandbox 0", "wake 1000 ms"], "c=ContainerCreating"),
                (.volumes, ["wake 1000 ms"], "c=ContainerCreating"),
                (.noSandbox, ["event FailedCreatePodSandBox", "wake 500 ms"], "c=ContainerCreating"),
                (.pass(0.5), ["sandbox 1"], "c=ContainerCreating"),
                (.noSandbox, ["wake 1000 ms"], "c=ContainerCreating"),
                (.pass(1), ["sandbox 2"], "c=ContainerCreating"),
                (.noSandbox, ["wake 2000 ms"], "c=ContainerCreating"),
                (.network(nil), ["sandbox 3"], "c=ContainerCreating"),
                (.sandbox, ["start c 0"], "c=ContainerCreating"),
            ]),
    ]

    @Test("what is asked for, step by step", arguments: stories)
    func story(_ story: PodStory) throws {
        var bench = try PodBench(story.spec, found: story.found, containers: story.containers, status: story.status)
        for (number, (step, actions, states)) in story.steps.enumerated() {
            let asked = try bench.take(step)
            #expect(asked == actions, "step \(number), \(step)")
            #expect(bench.states == states, "step \(number), \(step)")
        }
    }
}
