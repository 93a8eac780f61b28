// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// `catbird plugin`: one call of the plugin, carried out by this very process. For machines without an agent: with a
/// folder for a datastore, with a cluster's API by a kubeconfig, or with the addresses of another IPAM plugin.
public struct PluginRun: Sendable {
    public struct Outcome: Sendable {
        /// What goes to standard output.
        public let output: [UInt8]
        public let isSuccess: Bool
    }

    private let environment: [String: String]
    private let logger: Logger

    public init(environment: [String: String]) {
        self.environment = environment
        var logger = Logger(label: "catbird-cni")
        // Runtimes show standard error to people when a call fails.
        logger.logLevel = .error
        self.logger = logger
    }

    /// Carries out the call that the environment and `input`, the network configuration, ask for.
    public func answer(_ input: [UInt8], isIPAM: Bool) async -> Outcome {
        var version = CNIVersion.newest.rawValue
        do {
            let parameters = try CNIParameters(environment: { environment[$0] }, isIPAM: isIPAM)
            let configuration = try NetworkConfiguration(parsing: input)
            version = configuration.cniVersion.rawValue
            let result = try await carryOut(parameters, configuration)
            return Outcome(
                output: parameters.command == .add ? result.serialized() + [0x0A] : [], isSuccess: true)
        } catch {
            let known = error as? CNIError ?? CNIError(.plugin, "\(error)")
            return Outcome(output: known.json(version: version).serialized(indent: 4) + [0x0A], isSuccess: false)
        }
    }

    private func carryOut(_ parameters: CNIParameters, _ configuration: NetworkConfiguration) async throws -> JSON {
        guard geteuid() == 0 else {
            throw CNIError(
                parameters.command == .status ? .notAvailable : .plugin,
                "only root can connect containers, and this is user \(geteuid())",
                details: "run the container runtime as root")
        }
        let namespace = try Self.open(parameters)
        let folder = try LocalNetwork.folder(configuration)
        try Files.makeDirectories(folder, mode: 0o700)
        // Calls about one container wait for each other, whichever process they are in.
        let call = PluginCall(parameters, configuration, namespace?.rawValue)
        let stripe = call.sandbox.link.hostInterface.utf8.last ?? 0
        let lock = try HeldLock("\(folder)/LOCK-\(String(stripe, radix: 16))")
        defer { withExtendedLifetime(lock) {} }
        let ipam = configuration.json["ipam"]["type"].string ?? "calico-ipam"
        let dataplane = try Dataplane(logger: logger)
        if !parameters.isIPAM, !ipam.hasSuffix("calico-ipam"), ipam != "catbird-ipam" {
            let delegate = DelegatedIPAM(
                type: ipam, dataplane: dataplane, environment: environment,
                mtu: { try Self.mtu(pools: [], dataplane) })
            return try await delegate.answer(try await PodCIDRs.filled(call) { try Self.client(configuration) })
        }
        if configuration.json["datastore"].string == "file" {
            return try await local(call, try LocalNetwork(configuration), dataplane)
        }
        return try await clustered(call, folder, dataplane)
    }

    /// DEL comes without a namespace, or with one that is gone.
    private static func open(_ parameters: CNIParameters) throws -> Namespace? {
        guard !parameters.netns.isEmpty, !parameters.isIPAM else { return nil }
        do { return Namespace(try FileDescriptor.open(parameters.netnsPath)) } catch {
            if [.delete, .garbageCollect, .status].contains(parameters.command) { return nil }
            throw CNIError(.invalidEnvironment, "CNI_NETNS \(parameters.netns) cannot be opened: \(error)")
        }
    }

    /// An open namespace.
    private final class Namespace: Sendable {
        private let file: FileDescriptor
        init(_ file: consuming FileDescriptor) { self.file = file }
        var rawValue: Int32 { file.rawValue }
    }

    /// What Felix or an agent wrote down, else the smallest of the machine's uplinks less what pools are carried in.
    private static func mtu(pools: [IPPool], _ dataplane: Dataplane) throws -> Int {
        if !pools.isEmpty, let text = try? Files.text("/var/lib/calico/mtu"),
            let mtu = Int(text.filter { !$0.isWhitespace }), (576...65535).contains(mtu)
        {
            return mtu
        }
        let links = try dataplane.interfaces().map { (name: $0.name, mtu: $0.mtu, isUp: $0.isUp) }
        return MTUPlan.pods(
            uplink: MTUPlan.uplink(of: links) ?? 1500, pools: pools,
            kernelHasIPIP: Files.exists("/sys/module/ipip"))
    }

    // MARK: A folder

    private func local(_ call: PluginCall, _ network: LocalNetwork, _ dataplane: Dataplane) async throws -> JSON {
        if [.add, .status].contains(call.parameters.command), !call.parameters.isIPAM {
            try network.check(against: try dataplane.interfaces())
        }
        let store = FileStore(network.folder, given: network.objects)
        let book = AddressBook(store: store, node: network.node, logger: logger)
        let nat = OutgoingNAT(network: network.name, pools: network.pools, folder: network.folder)
        let handler = RequestHandler(
            node: network.node, pods: NoPods(), book: book, dataplane: dataplane, logger: logger,
            routeProtocol: .plugin, mtu: { try Self.mtu(pools: [], dataplane) },
            prepareNode: { try await OwnThread.run(awaiting: { try nat.apply() }) })
        func tidy() async throws {
            guard !call.parameters.isIPAM else { return }
            let folder = "\(network.folder)/\(GroupVersionResource.ipamHandles.resource)"
            let prefix = "\(IPAMNames.handle(network.name))."
            try await OwnThread.run(awaiting: {
                try nat.removeIfUnused { try !Files.list(folder).contains { $0.name.hasPrefix(prefix) } }
            })
        }
        do {
            let answer = try await handler.answer(call.parameters, network.configuration, call.netns)
            if [.delete, .garbageCollect].contains(call.parameters.command) { try await tidy() }
            return answer
        } catch {
            if call.parameters.command == .add { try? await tidy() }
            throw error
        }
    }

    // MARK: A cluster

    private static func client(_ configuration: NetworkConfiguration) throws -> KubeClient {
        let json = configuration.json
        guard let path = json["kubernetes"]["kubeconfig"].string ?? json["kubeconfig"].string else {
            throw CNIError(
                .invalidConfiguration, "network \"\(configuration.name)\" names no datastore",
                details: "set \"datastore\": \"file\", or kubernetes.kubeconfig to the path of a kubeconfig")
        }
        do {
            return KubeClient(try HTTPTransport(.kubeconfig(path: path)), userAgent: "catbird-cni")
        } catch {
            throw CNIError(.invalidConfiguration, "kubernetes.kubeconfig \(path) cannot be used: \(error)")
        }
    }

    private func clustered(_ call: PluginCall, _ folder: String, _ dataplane: Dataplane) async throws -> JSON {
        let client = try Self.client(call.configuration)
        let node = try NodeName.find(call.configuration)
        let store = ListedStore(client: client)
        let book = AddressBook(
            store: store, node: node, journal: try ReleaseJournal("\(folder)/releases.json"),
            deadline: AddressBook.usualDeadline, logger: logger)
        // What an earlier DEL could not do.
        if call.parameters.command == .add { try await book.replay() }
        let handler = RequestHandler(
            node: node, pods: AskedPods(client: client), book: book, dataplane: dataplane, logger: logger,
            mtu: { try Self.mtu(pools: await book.snapshot().pools, dataplane) },
            prepareNode: {
                let pools = await book.snapshot().pools
                let nat = OutgoingNAT(network: call.configuration.name, pools: pools, folder: folder)
                try await OwnThread.run(awaiting: { try nat.apply() })
            })
        return try await handler.answer(call.parameters, call.configuration, call.netns)
    }
}
