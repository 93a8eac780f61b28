// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeObjects
import Testing
import Values

@testable import Kubelet

/// What happens to a pod's machine in one step of a table.
enum PodStep: Sendable {
    /// A round without an event.
    case look
    case pass(Double)
    case volumes
    case noVolumes
    case sandbox
    case noSandbox
    case formersGone
    /// They stay; true where an address is held.
    case formersStay(Bool)
    /// The sandbox went, and all containers with it.
    case lost
    /// Nil: pods can get addresses.
    case network(String?)
    case image(String)
    case started(String)
    case pullFails(String)
    case startFails(String)
    case cancelled(String)
    case exits(String, Int)
    case probed(String, ProbeKind, Bool)
    case deleted(Int)
    case vanished
    case evicted
    case objects
    case released(Bool)
    case erased(Bool)
}

/// A machine with a runtime that does what a table says.
struct PodBench {
    var machine: PodMachine
    var sight: PodSight
    private let spec: String
    private var starts: [String: (number: Int, attempt: Int)] = [:]
    private var boxAttempt = 0

    static let begin = Timestamp(seconds: 1_900_000_000)

    init(_ spec: String, found: [PodSight.Box] = [], containers: [ContainerStatus] = [], status: String = "{}") throws {
        self.spec = spec
        sight = PodSight(now: Self.begin, sandboxes: found, containers: containers)
        machine = PodMachine(try Self.pod(spec, status: status), hostIP: "192.0.2.1", now: Self.begin)
    }

    static func pod(_ spec: String, deleted grace: Int? = nil, status: String = "{}") throws -> PodView {
        let deletion =
            grace.map { #","deletionTimestamp":"2030-03-17T17:46:40Z","deletionGracePeriodSeconds":\#($0)"# } ?? ""
        return PodView(
            KubeObject(
                try JSON(
                    parsing:
                        #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"u"\#(deletion)},"#
                        + #""spec":\#(spec),"status":\#(status)}"#)))
    }

    static func container(_ name: String, _ attempt: Int, in box: Int, _ state: ContainerStatus.State)
        -> ContainerStatus
    {
        let image = LocalImage(
            reference: "app:1", id: "sha256:1", repoDigests: [], repoTags: ["app:1"], sizeBytes: 1, layerPaths: [],
            config: .object([:]), standsInFor: nil)
        let spec = ContainerSpec(sandboxID: "u-\(box)", name: name, attempt: attempt, image: image)
        var status = ContainerStatus(id: "\(name)-\(box)-\(attempt)", spec: spec, state: state, createdAt: begin)
        status.startedAt = begin
        return status
    }

    /// What the machine asks for, without what every round says, and when it wants to be asked again.
    mutating func take(_ step: PodStep) throws -> [String] {
        switch step {
        case .look: break
        case .pass(let seconds): sight.now = sight.now.adding(seconds: seconds)
        case .volumes: tell(.volumesMade(renewal: nil))
        case .noVolumes: tell(.volumesFailed("configmap missing"))
        case .sandbox:
            sight.sandboxes.append(
                PodSight.Box(id: "u-\(boxAttempt)", attempt: boxAttempt, isReady: true, addresses: ["10.0.0.5"]))
            tell(.sandboxMade(id: "u-\(boxAttempt)", addresses: ["10.0.0.5"]))
        case .noSandbox: tell(.sandboxFailed("the agent is not up"))
        case .formersGone:
            sight.sandboxes = sight.sandboxes.filter { $0.id == machine.sandbox }
            tell(.formersRemoved(failures: []))
        case .formersStay(let holdsAddress): tell(.formersRemoved(failures: [("it is busy", holdsAddress)]))
        case .lost:
            sight.sandboxes = sight.sandboxes.map {
                PodSight.Box(id: $0.id, attempt: $0.attempt, isReady: false, addresses: [])
            }
            sight.containers = []
        case .network(let trouble):
            sight.networkTrouble = trouble
            tell(.networkChanged)
        case .image(let name): tell(.imageReady(name, number: starts[name]?.number ?? 0))
        case .started(let name):
            let attempt = starts[name]?.attempt ?? 0
            let box = machine.sandbox.flatMap { $0.split(separator: "-").last }.flatMap { Int($0) } ?? 0
            let status = Self.container(name, attempt, in: box, .running)
            sight.containers.append(status)
            ended(name, .started(status.id, attempt: attempt))
        case .pullFails(let name):
            ended(
                name,
                .waiting(reason: "ImagePullBackOff", message: "no such image", retryAt: sight.now.adding(seconds: 20)))
        case .startFails(let name): ended(name, .failed(reason: "RunContainerError", message: "no such command"))
        case .cancelled(let name): ended(name, .cancelled)
        case .exits(let name, let code):
            for index in sight.containers.indices
            where sight.containers[index].name == name && sight.containers[index].state == .running {
                sight.containers[index].state = .exited
                sight.containers[index].exitCode = code
                sight.containers[index].finishedAt = sight.now
            }
        case .probed(let name, let kind, let success):
            tell(.probed(name, machine.slots[name]?.current ?? "", kind, success))
        case .deleted(let grace): tell(.updated(try Self.pod(spec, deleted: grace)))
        case .vanished: tell(.vanished(machine.pod))
        case .evicted: tell(.evicted("The node was low on resource: memory. "))
        case .objects: tell(.objectsChanged)
        case .released(let succeeds):
            if succeeds { sight.sandboxes = [] }
            tell(.released(failure: succeeds ? nil : "the agent is not up"))
        case .erased(let succeeds): tell(.deleted(failure: succeeds ? nil : "the API is away"))
        }
        return round()
    }

    private mutating func tell(_ event: PodEvent) { _ = machine.take(event, at: sight.now) }
    private mutating func ended(_ name: String, _ outcome: StartOutcome) {
        tell(.startEnded(name, number: starts[name]?.number ?? 0, outcome))
    }

    private mutating func round() -> [String] {
        var words: [String] = []
        for action in machine.round(sight) {
            switch action {
            case .publish, .follow, .forget: continue
            case .start(let view, let number, let attempt, _): starts[view.name] = (number, attempt)
            case .createSandbox(let attempt): boxAttempt = attempt
            default: break
            }
            words.append(action.description)
        }
        if let deadline = machine.deadline { words.append("wake \(Int(deadline.seconds(since: sight.now) * 1000)) ms") }
        return words
    }

    /// `name=state` of each container: `waiting REASON`, `running`, `ready` or `ended CODE`.
    var states: String {
        machine.slots.inOrder.map { name, slot in
            switch slot.record.state {
            case .waiting(let reason, _): "\(name)=\(reason)"
            case .running: "\(name)=\(slot.record.isReady ? "ready" : "running")"
            case .terminated(let end): "\(name)=\(end.exitCode)"
            }
        }.joined(separator: " ")
    }
}

/// A pod's life as a table: what happens, what is asked for, and how its containers stand then.
struct PodStory: Sendable, CustomTestStringConvertible {
    let title: String
    let spec: String
    var found: [PodSight.Box] = []
    var containers: [ContainerStatus] = []
    var status = "{}"
    let steps: [(PodStep, [String], String)]

    var testDescription: String { title }
}
