// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import PKI
import Values

/// What the machine shows to be wrong, whether the API answers or not.
enum MachineJudgement {
    static func findings(_ facts: MachineFacts) -> [Finding] {
        facts.disks.reduce(into: [Finding]()) { all, disk in
            // State and run folders are mostly on one disk.
            if let finding = disk.finding, !all.contains(where: { $0.object == finding.object }) { all.append(finding) }
        } + broughtUp(facts) + processes(facts) + routes(facts) + certificates(facts) + kubeconfig(facts)
    }

    private static func broughtUp(_ facts: MachineFacts) -> [Finding] {
        guard let reason = facts.bringUpFailure else { return [] }
        return [
            Finding(
                "NotBroughtUp", object: "cluster \(facts.profile)", problem: "could not be brought up", cause: reason,
                nextStep: "catbird start\(NodeJudgement.option(facts.profile))")
        ]
    }

    // MARK: - Processes

    private static func processes(_ facts: MachineFacts) -> [Finding] {
        let option = NodeJudgement.option(facts.profile)
        let dead = Set(facts.processes.filter { $0.state == .dead }.map(\.name))
        if dead.contains("supervisor"), dead.contains("guard") {
            let others = facts.processes.filter {
                dead.contains($0.name) && !["supervisor", "guard"].contains($0.name)
            }
            let also = others.isEmpty ? "" : "; dead with it: \(others.map(\.name).joined(separator: ", "))"
            return [
                Finding(
                    "SupervisorDead", object: "process supervisor",
                    problem: "is dead, and its guard too: nothing starts again what ends",
                    cause: "somebody or something killed both\(also); the supervisor's last line: "
                        + (facts.processes.first { $0.name == "supervisor" }?.lastLine ?? "(none)"),
                    nextStep: "catbird start\(option)")
            ] + facts.processes.compactMap { suspended($0) }
        }
        return facts.processes.flatMap { process -> [Finding] in
            if let finding = suspended(process) { return [finding] }
            if process.state == .dead {
                return [
                    Finding(
                        process.name == "controlplane" ? "ControlPlaneDead" : "ProcessDead",
                        object: "process \(process.name)", problem: "does not run",
                        cause: "it ended, \(process.restarts) time\(process.restarts == 1 ? "" : "s") so far, and is "
                            + "started again; its last line: \(process.lastLine)",
                        nextStep: "catbird logs\(option)")
                ]
            }
            guard process.restarts > 0, let began = process.startedAt, facts.now.seconds(since: began) < 600 else {
                return []
            }
            return [
                Finding(
                    "Restarts", object: "process \(process.name)",
                    problem: "has been started again \(process.restarts) time\(process.restarts == 1 ? "" : "s")",
                    cause: "it ended, the last time at \(began)", nextStep: "catbird logs\(option)")
            ]
        }
    }

    private static func suspended(_ process: ProcessFacts) -> Finding? {
        let what =
            process.name == "controlplane"
            ? "the API does not answer"
            : process.name.hasPrefix("node-") ? "its node will be NotReady" : "nothing is started again"
        switch process.state {
        case .suspended:
            return Finding(
                "ProcessSuspended", object: "process \(process.name)", problem: "is suspended: \(what)",
                cause: "it was stopped by a signal (SIGSTOP) or a debugger", nextStep: "kill -CONT \(process.pid ?? 0)")
        case .frozen(let file, let thaw):
            return Finding(
                "ProcessFrozen", object: "process \(process.name)", problem: "is frozen: \(what)",
                cause: "its control group is frozen (\(file))", nextStep: "echo \(thaw) > \(file)")
        case .running, .dead: return nil
        }
    }

    // MARK: - The way there

    private static func routes(_ facts: MachineFacts) -> [Finding] {
        guard facts.hasHostLink else {
            guard !facts.routes.isEmpty else { return [] }
            let option = NodeJudgement.option(facts.profile)
            return [
                Finding(
                    "FabricLinkGone", object: "link \(facts.hostLink)",
                    problem: "is not there: the machine cannot reach the cluster",
                    cause: "somebody deleted it, or took it into another namespace",
                    nextStep: "catbird stop\(option) && catbird start\(option)")
            ]
        }
        return facts.routes.filter { $0.link != facts.hostLink }.map { fact in
            let isOther = fact.table != 254 && fact.table != 255
            return Finding(
                "RouteTaken", object: "route to \(fact.address)", problem: "does not lead to the cluster",
                cause: fact.link.map {
                    "the machine sends it to \($0) (\(fact.route)\(isOther ? ", table \(fact.table)" : "")) and not to "
                        + "\(facts.hostLink): a VPN or another network has taken its range"
                } ?? "the machine has no route to it; the cluster is behind \(facts.hostLink)",
                nextStep: isOther
                    ? "ip rule add to \(fact.address) lookup main priority 100"
                    : "ip route replace \(fact.address)/32 dev \(facts.hostLink)")
        }
    }

    // MARK: - Files

    private static func certificates(_ facts: MachineFacts) -> [Finding] {
        facts.certificates.compactMap { file in
            let object = "certificate \(file.path)"
            let next = renew(file.path, facts.profile)
            guard let summary = file.summary else {
                return Finding(
                    "CertificateUnreadable", object: object, problem: "cannot be read",
                    cause: "the file is damaged", nextStep: next)
            }
            if !file.isOurs {
                return Finding(
                    "CertificateUnknown", object: object, problem: "is not signed by the cluster's authority",
                    cause: "ca.crt beside it is another authority's: one of the two was replaced", nextStep: next)
            }
            guard let (reason, problem) = CertificateJudgement.time(summary, now: facts.now) else { return nil }
            return Finding(
                reason, object: object, problem: problem,
                cause: "\(summary.commonName) is good from \(summary.notBefore) to \(summary.notAfter)", nextStep: next)
        }
    }

    /// What is not there is made again: the administrator's when it is asked for, the others when their process starts.
    private static func renew(_ path: String, _ profile: String) -> String {
        let option = NodeJudgement.option(profile)
        if path.hasSuffix("/ca.crt") { return "catbird delete\(option) && catbird start\(option)" }
        let again =
            path.hasSuffix("/admin.crt") ? "catbird start\(option)" : "catbird stop\(option) && catbird start\(option)"
        return "rm \(path) && \(again)"
    }

    private static func kubeconfig(_ facts: MachineFacts) -> [Finding] {
        guard let server = facts.kubeconfigServer, server != facts.server else { return [] }
        return [
            Finding(
                "KubeconfigElsewhere", object: "kubeconfig context \(facts.profile)",
                problem: "leads to another server", cause: "it names \(server), and the cluster is at \(facts.server)",
                nextStep: "catbird start\(NodeJudgement.option(facts.profile))")
        ]
    }
}
