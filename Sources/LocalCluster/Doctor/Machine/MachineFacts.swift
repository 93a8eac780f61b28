// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Linux
public import PKI
public import Values

/// What the machine shows of a local cluster without asking its API.
public struct MachineFacts: Sendable {
    /// A file of the profile's keys.
    public struct CertificateFile: Sendable {
        public let path: String
        /// Nil: it cannot be read.
        public let summary: CertificateSummary?
        /// Whether the profile's authority has signed it.
        public let isOurs: Bool

        public init(path: String, summary: CertificateSummary?, isOurs: Bool = true) {
            self.path = path
            self.summary = summary
            self.isOurs = isOurs
        }
    }

    /// Which way the machine sends what is meant for a rack.
    public struct RouteFact: Sendable, Hashable {
        public let address: IPAddress
        /// Nil: there is no route.
        public let link: String?
        /// The entry of the routing table that decides.
        public let route: String
        public let table: UInt32

        public init(address: IPAddress, link: String?, route: String, table: UInt32 = 254) {
            self.address = address
            self.link = link
            self.route = route
            self.table = table
        }
    }

    public var profile: String
    public var processes: [ProcessFacts] = []
    /// Why the supervisor could not bring the cluster up; nil when it could.
    public var bringUpFailure: String?
    public var disks: [DiskRoom] = []
    public var certificates: [CertificateFile] = []
    public var routes: [RouteFact] = []
    /// The machine's link to the fabric, and whether it is there.
    public var hostLink: String
    public var hasHostLink = true
    /// Where the API is, as a kubeconfig names it.
    public var server: String
    /// Where the kubeconfig's context of this name leads; nil when there is none.
    public var kubeconfigServer: String?
    public var now: Timestamp = .now

    public init(profile: String, hostLink: String, server: String) {
        self.profile = profile
        self.hostLink = hostLink
        self.server = server
    }

    /// Looks at the machine.
    static func gather(_ profile: Profile, _ paths: ProfilePaths) async -> MachineFacts {
        let names = FabricNames(
            profile: profile.name, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot)
        let server = "https://\(profile.controlPlaneNode?.address.description ?? ""):\(Profile.apiPort)"
        var facts = MachineFacts(profile: profile.name.text, hostLink: names.hostLink, server: server)
        facts.kubeconfigServer = Kubeconfig().server(ofContext: profile.name.text)
        facts.disks = [paths.state, paths.run].compactMap { DiskRoom(of: $0) }
        facts.certificates = certificates(paths.pki)
        await facts.gatherProcesses(profile, paths)
        facts.gatherRoutes(profile)
        return facts
    }

    private mutating func gatherProcesses(_ profile: Profile, _ paths: ProfilePaths) async {
        var names = ["supervisor", "guard"]
        let wanted = profile.wantedNodes.map(\.name)
        if let first = profile.controlPlaneNode?.name, wanted.contains(first) { names.append("controlplane") }
        names += wanted.map { "node-\($0)" }
        var restarts: [String: Int] = [:]
        if ProcessFacts("supervisor", paths: paths, restarts: 0).state == .running,
            let status = try? await Deadline.run(
                .seconds(3), { try await SupervisorClient(paths: paths).send("GET", "/status") })
        {
            bringUpFailure = status["bringUp"]["state"].string == "failed" ? status["bringUp"]["reason"].string : nil
            for process in status["processes"].array ?? [] {
                if let name = process["name"].string { restarts[name] = process["restarts"].int ?? 0 }
            }
        }
        processes = names.map { ProcessFacts($0, paths: paths, restarts: restarts[$0] ?? 0) }
    }

    private mutating func gatherRoutes(_ profile: Profile) {
        guard let socket = try? NetlinkSocket(), let links = try? socket.links() else { return }
        hasHostLink = links.contains { $0.name == hostLink }
        // One node of each rack: a route to one leads to all.
        var seen: Set<Int> = []
        for node in profile.nodes where seen.insert(node.rack).inserted {
            // A route that came or went while it was asked for is found at the next look.
            guard let route = try? socket.route(to: node.address) else {
                routes.append(RouteFact(address: node.address, link: nil, route: "none"))
                continue
            }
            let link = links.first { $0.index == route.interface }?.name
            var entry = link.map { "dev \($0)" } ?? "\(route.kind)"
            // The kernel answers with the packet's way; the entry behind it is the longest prefix that holds it.
            if let all = try? socket.routes(.v4, table: route.table),
                let best = all.filter({ $0.destination.contains(node.address) && $0.interface == route.interface })
                    .max(by: { $0.destination.prefixLength < $1.destination.prefixLength })
            {
                entry = "\(best.destination) \(entry)"
            }
            routes.append(RouteFact(address: node.address, link: link, route: entry, table: route.table))
        }
    }

    private static func certificates(_ folder: String) -> [CertificateFile] {
        let names = ((try? Files.list(folder)) ?? []).map(\.name).filter { $0.hasSuffix(".crt") }.sorted()
        let authority = (try? Files.text("\(folder)/ca.crt")) ?? ""
        return names.map { name in
            let path = "\(folder)/\(name)"
            guard let text = try? Files.text(path), let summary = try? CertificateSummary(pem: text) else {
                return CertificateFile(path: path, summary: nil)
            }
            return CertificateFile(
                path: path, summary: summary, isOurs: CertificateSummary.isSigned(pem: text, byAuthority: authority))
        }
    }
}
