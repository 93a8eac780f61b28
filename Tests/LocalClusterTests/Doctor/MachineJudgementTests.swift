// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Glibc
import Linux
import PKI
import Testing
import Values

@testable import LocalCluster

@Suite struct MachineJudgementTests {
    private func facts(_ change: (inout MachineFacts) -> Void = { _ in }) -> MachineFacts {
        var facts = MachineFacts(profile: "lab", hostLink: "catb-lab", server: "https://192.168.49.2:8443")
        facts.processes = ["supervisor", "guard", "controlplane", "node-lab"].map {
            ProcessFacts(name: $0, pid: 7, state: .running)
        }
        facts.routes = [
            MachineFacts.RouteFact(
                address: IPAddress(192, 168, 49, 2), link: "catb-lab", route: "192.168.49.0/24 dev catb-lab")
        ]
        facts.kubeconfigServer = "https://192.168.49.2:8443"
        change(&facts)
        return facts
    }

    private func set(_ name: String, _ state: ProcessFacts.State, _ facts: inout MachineFacts, restarts: Int = 0) {
        facts.processes = facts.processes.map {
            $0.name == name
                ? ProcessFacts(
                    name: name, pid: state == .dead ? nil : 7, state: state, startedAt: .now, restarts: restarts,
                    lastLine: "words") : $0
        }
    }

    private func reasons(_ facts: MachineFacts) -> [String] { MachineJudgement.findings(facts).map(\.reason) }

    @Test func aMachineThatIsWellHasNoFindings() { #expect(reasons(facts()).isEmpty) }

    @Test func processesAreToldApart() throws {
        #expect(reasons(facts { set("controlplane", .dead, &$0) }) == ["ControlPlaneDead"])
        #expect(reasons(facts { set("node-lab", .dead, &$0) }) == ["ProcessDead"])
        let suspended = MachineJudgement.findings(facts { set("node-lab", .suspended, &$0) })
        #expect(suspended.map(\.reason) == ["ProcessSuspended"])
        #expect(suspended.map(\.nextStep) == ["kill -CONT 7"])
        let frozen = MachineJudgement.findings(
            facts { set("controlplane", .frozen(file: "/sys/fs/cgroup/x/cgroup.freeze", thaw: "0"), &$0) })
        #expect(frozen.map(\.nextStep) == ["echo 0 > /sys/fs/cgroup/x/cgroup.freeze"])
        let both = MachineJudgement.findings(
            facts {
                set("supervisor", .dead, &$0)
                set("guard", .dead, &$0)
                set("controlplane", .dead, &$0)
            })
        #expect(both.map(\.reason) == ["SupervisorDead"])
        #expect(both.first?.cause.contains("dead with it: controlplane") == true)
        #expect(both.map(\.nextStep) == ["catbird start -p lab"])
        #expect(reasons(facts { set("node-lab", .running, &$0, restarts: 2) }) == ["Restarts"])
    }

    @Test func routesThatLeadElsewhere() {
        let address = IPAddress(192, 168, 49, 2)
        func judged(_ fact: MachineFacts.RouteFact) -> [Finding] {
            MachineJudgement.findings(facts { $0.routes = [fact] })
        }
        let vpn = judged(.init(address: address, link: "tun0", route: "192.168.0.0/16 dev tun0"))
        #expect(vpn.map(\.reason) == ["RouteTaken"])
        #expect(vpn.first?.cause.hasPrefix("the machine sends it to tun0 (192.168.0.0/16 dev tun0)") == true)
        #expect(vpn.map(\.nextStep) == ["ip route replace 192.168.49.2/32 dev catb-lab"])
        // A rule of its own table comes before the main one: another route there would not be asked.
        let rule = judged(.init(address: address, link: "wg0", route: "0.0.0.0/0 dev wg0", table: 51820))
        #expect(rule.map(\.nextStep) == ["ip rule add to 192.168.49.2 lookup main priority 100"])
        #expect(judged(.init(address: address, link: nil, route: "none")).map(\.reason) == ["RouteTaken"])
        #expect(reasons(facts { $0.hasHostLink = false }) == ["FabricLinkGone"])
    }

    @Test func certificatesDisksAndTheKubeconfig() throws {
        let issued = try CertificateAuthority.create(commonName: "ca").issue(commonName: "admin", validity: 100)
        let summary = try CertificateSummary(pem: issued.certificatePEM)
        func judged(_ name: String, _ summary: CertificateSummary?, isOurs: Bool = true, days: Double = 0) -> [Finding]
        {
            MachineJudgement.findings(
                facts {
                    $0.certificates = [.init(path: "/pki/\(name)", summary: summary, isOurs: isOurs)]
                    $0.now = Timestamp.now.adding(seconds: days * 86400)
                })
        }
        #expect(judged("admin.crt", summary).isEmpty)
        #expect(judged("admin.crt", summary, days: 80).map(\.reason) == ["CertificateEndsSoon"])
        let over = judged("apiserver.crt", summary, days: 101)
        #expect(over.map(\.reason) == ["CertificateExpired"])
        #expect(over.map(\.nextStep) == ["rm /pki/apiserver.crt && catbird stop -p lab && catbird start -p lab"])
        #expect(
            judged("admin.crt", summary, isOurs: false).map(\.nextStep) == ["rm /pki/admin.crt && catbird start -p lab"]
        )
        #expect(judged("ca.crt", nil).map(\.nextStep) == ["catbird delete -p lab && catbird start -p lab"])
        #expect(reasons(facts { $0.kubeconfigServer = "https://10.0.0.1:6443" }) == ["KubeconfigElsewhere"])
        #expect(reasons(facts { $0.kubeconfigServer = nil }).isEmpty)
        func disk(_ free: UInt64) -> [String] {
            reasons(facts { $0.disks = [DiskRoom(folder: "/d", free: free, total: 10 << 30)] })
        }
        #expect(disk(1 << 20) == ["DiskFull"])
        #expect(disk(100 << 20) == ["DiskNearlyFull"])
        #expect(disk(5 << 30).isEmpty)
    }

    @Test func aSignatureIsTheAuthoritys() throws {
        let (own, other) = (
            try CertificateAuthority.create(commonName: "a"), try CertificateAuthority.create(commonName: "a")
        )
        let issued = try own.issue(commonName: "x")
        #expect(CertificateSummary.isSigned(pem: issued.certificatePEM, byAuthority: own.certificatePEM))
        #expect(!CertificateSummary.isSigned(pem: issued.certificatePEM, byAuthority: other.certificatePEM))
        #expect(CertificateSummary.isSigned(pem: own.certificatePEM, byAuthority: own.certificatePEM))
        #expect(!CertificateSummary.isSigned(pem: "nothing", byAuthority: own.certificatePEM))
    }

    // MARK: - Why the API does not answer

    private func reachability(_ answer: APIAnswer, _ change: (inout MachineFacts) -> Void = { _ in }) -> [Finding] {
        let facts = facts(change)
        return ReachabilityJudgement.findings(answer, facts, machine: MachineJudgement.findings(facts))
    }

    @Test(arguments: [
        (APIAnswer.ready, []), (.refused(status: 401, text: "Unauthorized"), ["APIRefuses"]),
        (.refused(status: 500, text: "[-]etcd failed"), ["APINotReady"]), (.connection(ECONNREFUSED), ["NotListening"]),
        (.connection(EHOSTUNREACH), ["APIUnreachable"]), (.connection(ETIMEDOUT), ["APIUnreachable"]),
        (.silent, ["APISilent"]), (.failed("handshake"), ["APIFailed"]),
    ])
    func everyAnswerHasAReason(answer: APIAnswer, reason: [String]) {
        #expect(reachability(answer).map(\.reason) == reason)
    }

    @Test func whatExplainsTheSilenceIsNotSaidTwice() {
        #expect(reachability(.silent) { set("controlplane", .suspended, &$0) }.isEmpty)
        #expect(reachability(.connection(ECONNREFUSED)) { set("controlplane", .dead, &$0) }.isEmpty)
        #expect(reachability(.connection(EHOSTUNREACH)) { $0.hasHostLink = false }.isEmpty)
        // A node that is suspended does not explain it.
        #expect(reachability(.silent) { set("node-lab", .suspended, &$0) }.map(\.reason) == ["APISilent"])
        #expect(
            reachability(.connection(ECONNREFUSED)) { $0.processes.removeAll { $0.name == "controlplane" } }.map(
                \.reason)
                == ["ControlPlaneStopped"])
        let dead = reachability(.connection(ECONNREFUSED)) {
            set("supervisor", .dead, &$0)
            set("guard", .dead, &$0)
            set("controlplane", .dead, &$0)
        }
        #expect(dead.map(\.nextStep) == ["catbird start -p lab"])
    }

    @Test func noMessageShowsTheNumberOfAnError() {
        for code in [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT] {
            #expect(reachability(.connection(code)).allSatisfy { !$0.cause.contains("errno") })
        }
    }

    // MARK: - Against the kernel

    @Test func aConnectionTellsWhetherSomethingListens() async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> UInt16 in
                guard bind(listener, address, length) == 0, listen(listener, 8) == 0,
                    getsockname(listener, address, &length) == 0
                else { return 0 }
                return pointer.pointee.sin_port.bigEndian
            }
        }
        let open = Listener(address: "127.0.0.1", port: Int(port))
        let closed = Listener(address: "127.0.0.1", port: 1)
        let found = await ConnectionProbe(namespace: nil).attempt([open, closed])
        #expect(found[open] == 0)
        #expect(found[closed] == ECONNREFUSED)
    }

    @Test func aSuspendedProcessIsSeen() async throws {
        let folder = "/tmp/catbird-facts-\(getpid())"
        let paths = ProfilePaths(
            profile: try ProfileName("lab"),
            machine: MachinePaths(stateRoot: "\(folder)/state", runRoot: "\(folder)/run"))
        try Files.makeDirectories("\(paths.run)/pids")
        try Files.makeDirectories(paths.logs)
        try Files.replace(paths.log("guard"), with: Array("first\nlast\n".utf8), mode: 0o600)
        let child = try ProcessSpawner("/bin/sleep", ["1000"]).spawn()
        try #require(ProcessRecord(pid: child.pid)).write(to: paths.pidFile("guard"))
        #expect(ProcessFacts("guard", paths: paths, restarts: 0).state == .running)
        #expect(ProcessFacts("guard", paths: paths, restarts: 0).lastLine == "last")
        kill(child.pid, SIGSTOP)
        var status: Int32 = 0
        // Returns when it has stopped.
        waitpid(child.pid, &status, WUNTRACED)
        #expect(ProcessFacts("guard", paths: paths, restarts: 0).state == .suspended)
        kill(child.pid, SIGKILL)
        _ = await child.wait()
        #expect(ProcessFacts("guard", paths: paths, restarts: 0).state == .dead)
        try Files.removeTree(folder)
    }
}
