// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Glibc

/// What came of asking the API.
public enum APIAnswer: Sendable, Hashable {
    case ready
    /// It answered, but with this.
    case refused(status: Int, text: String)
    /// The connection failed with this error's number.
    case connection(Int32)
    /// Connected, and then nothing more came.
    case silent
    /// TLS, or anything else.
    case failed(String)
}

/// Why the API cannot be reached, when what the machine shows does not say it.
enum ReachabilityJudgement {
    /// Reasons of the machine that explain by themselves that the API does not answer.
    private static let sufficient: Set<String> = [
        "ControlPlaneDead", "NotBroughtUp", "FabricLinkGone", "RouteTaken", "DiskFull", "CertificateExpired",
        "CertificateUnknown",
        "CertificateUnreadable", "CertificateNotYetValid",
    ]

    static func findings(_ answer: APIAnswer, _ facts: MachineFacts, machine: [Finding]) -> [Finding] {
        if answer == .ready { return [] }
        let isExplained = machine.contains { finding in
            sufficient.contains(finding.reason)
                || (["ProcessSuspended", "ProcessFrozen"].contains(finding.reason)
                    && finding.object == "process controlplane")
        }
        // What keeps the process from its work is the reason; that it does not answer is not said twice.
        if isExplained { return [] }
        let control = facts.processes.first { $0.name == "controlplane" }
        let words = control.map { "; its last line: \($0.lastLine)" } ?? ""
        let option = NodeJudgement.option(facts.profile)
        func finding(_ reason: String, _ problem: String, _ cause: String, _ next: String) -> [Finding] {
            [Finding(reason, object: "api \(facts.server)", problem: problem, cause: cause, nextStep: next)]
        }
        guard let control else {
            return finding(
                "ControlPlaneStopped", "does not answer", "its node is stopped, and the control plane with it",
                "catbird node start \(facts.profile)\(option)")
        }
        switch answer {
        case .ready: return []
        case .refused(let status, let text):
            return finding(
                status == 401 || status == 403 ? "APIRefuses" : "APINotReady", "answers with \(status)", text,
                status == 401 || status == 403
                    ? "catbird stop\(option) && catbird start\(option)" : "catbird logs\(option)")
        case .connection(ECONNREFUSED):
            if control.state == .dead {
                return finding(
                    "ControlPlaneDead", "does not answer", "its process is dead\(words)", "catbird start\(option)")
            }
            return finding(
                "NotListening", "refuses connections",
                "its process runs (\(control.pid ?? 0)) and does not listen\(words)", "catbird logs\(option)")
        case .connection(let code):
            return finding(
                "APIUnreachable", "cannot be reached",
                "\(String(cString: strerror(code))): the route leads to \(facts.hostLink), and nobody answers "
                    + "behind it",
                "catbird stop\(option) && catbird start\(option)")
        case .silent:
            return finding(
                "APISilent", "does not answer in time",
                "its process runs (\(control.pid ?? 0)), takes connections and says nothing\(words)",
                "catbird logs\(option)")
        case .failed(let text):
            return finding("APIFailed", "cannot be asked", text, "catbird logs\(option)")
        }
    }
}
