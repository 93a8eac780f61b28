// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import KubeClient
import KubeObjects
import LocalCluster
import Values

struct Service: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Addresses of Services as seen from this machine.", subcommands: [List.self, Show.self],
        defaultSubcommand: Show.self)

    /// `http://NODE:NODEPORT` for each port of a Service.
    static func addresses(_ service: KubeObject, node: IPAddress) -> [(port: String, url: String)] {
        (service["spec"]["ports"].array ?? []).compactMap { port in
            guard let nodePort = port["nodePort"].int, nodePort > 0 else { return nil }
            let label = "\(port["name"].string.map { "\($0)/" } ?? "")\(port["port"].int ?? 0)"
            return (label, "http://\(node):\(nodePort)")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(shouldDisplay: false)
        @Argument var name: String?
        @OptionGroup var common: ProfileOptions
        @Option(name: [.customShort("n"), .long], help: "The namespace.") var namespace: String = "default"
        @Flag(help: "Print the addresses and nothing else.") var url = false
        @Flag(help: .hidden) var https = false
        @Flag(help: "The addresses of all Services of the namespace.") var all = false
        @Option(help: "How an address is written, with {{.IP}}, {{.Port}} and {{.Name}}.") var format: String?

        /// An address as `--format` wants it.
        private func formatted(_ url: String, of service: String) -> String {
            guard let format, let range = url.firstRange(of: "://") else { return url }
            let parts = url[range.upperBound...].split(separator: ":")
            return format.replacing("{{.IP}}", with: parts.first ?? "").replacing("{{.Port}}", with: parts.last ?? "")
                .replacing("{{.Name}}", with: service)
        }

        func run() async throws {
            guard !all else { return try await showAll() }
            guard let name else {
                throw LocalClusterError(
                    .usage, "catbird service needs the name of a Service.", nextStep: "To see all: catbird service list"
                )
            }
            let (_, profile) = try await NodeCommand.running(common.name)
            let access = try ClusterAccess(running: profile.name)
            let service: KubeObject
            do {
                service = try await access.client.get(.services, name, in: namespace)
            } catch let error as APIError where error.isNotFound {
                throw LocalClusterError(
                    .serviceNotFound, "Service '\(name)' was not found in '\(namespace)' namespace.",
                    nextStep: "You may select another namespace by using 'catbird service \(name) -n <namespace>', "
                        + "or list all with 'catbird service list'.")
            }
            guard let node = profile.controlPlaneNode?.address else { return }
            let addresses = Service.addresses(service, node: node).map {
                ($0.port, formatted(https ? "https" + $0.url.dropFirst("http".count) : $0.url, of: name))
            }
            await access.shutdown()
            if url, !addresses.isEmpty {
                for address in addresses { print(address.1) }
                return
            }
            let advice =
                "service \(namespace)/\(name) has no node port. To open it: kubectl port-forward service/\(name) PORT"
            if url {
                Terminal.note("😿", advice)
                return
            }
            var table = BoxTable("NAMESPACE", "NAME", "TARGET PORT", "URL")
            for address in addresses { table.rows.append([namespace, name, address.0, address.1]) }
            if addresses.isEmpty { table.rows.append([namespace, name, "", "No node port"]) }
            print(table.text)
            guard !addresses.isEmpty else {
                Terminal.line("😿", advice)
                return
            }
            Terminal.line("🎉", "Open \(namespace)/\(name) in your browser: \(addresses[0].1)")
        }

        private func showAll() async throws {
            let (_, profile) = try await NodeCommand.running(common.name)
            let access = try ClusterAccess(running: profile.name)
            let services = try await access.client.list(.services, in: namespace).items.sorted { $0.key < $1.key }
            await access.shutdown()
            guard let node = profile.controlPlaneNode?.address else { return }
            for service in services {
                for address in Service.addresses(service, node: node) {
                    print(
                        formatted(https ? "https" + address.url.dropFirst("http".count) : address.url, of: service.name)
                    )
                }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All Services with their addresses.")
        @OptionGroup var common: ProfileOptions
        @Option(name: [.customShort("n"), .long], help: "Only this namespace.") var namespace: String?
        @Option(name: [.customShort("o"), .long], help: "table or json.") var output: String = "table"

        func run() async throws {
            let (_, profile) = try await NodeCommand.running(common.name)
            let access = try ClusterAccess(running: profile.name)
            let services = try await access.client.list(.services, in: namespace).items.sorted { $0.key < $1.key }
            await access.shutdown()
            guard let node = profile.controlPlaneNode?.address else { return }
            if output == "json" {
                let list = services.map { service -> JSON in
                    let found = Service.addresses(service, node: node)
                    return [
                        "Namespace": JSON(service.namespace ?? ""), "Name": JSON(service.name),
                        "URLs": JSON(found.map(\.url)), "PortNames": JSON(found.map(\.port)),
                    ]
                }
                print(JSON.array(list).text())
                return
            }
            var table = BoxTable("NAMESPACE", "NAME", "TARGET PORT", "URL")
            for service in services {
                let found = Service.addresses(service, node: node)
                if found.isEmpty { table.rows.append([service.namespace ?? "", service.name, "No node port", ""]) }
                for address in found {
                    table.rows.append([service.namespace ?? "", service.name, address.port, address.url])
                }
            }
            print(table.text)
        }
    }
}

struct Tunnel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how LoadBalancer addresses are reached; as root they are reachable all the time.")
    @OptionGroup var common: ProfileOptions
    @Flag(name: [.customShort("c"), .long], help: .hidden) var cleanup = false
    @Option(name: .customLong("bind-address"), help: .hidden) var bindAddress: String?

    func run() async throws {
        let (_, profile) = try await NodeCommand.running(common.name)
        guard let node = profile.controlPlaneNode else { return }
        guard !cleanup else { return }
        let access = try ClusterAccess(running: profile.name)
        let informer = Informer(access.client, .services)
        async let watching: Void = informer.run()
        for await _ in informer.events() { Self.show(informer.all(), of: profile, node: node) }
        await watching
    }

    private static func show(_ all: [KubeObject], of profile: Profile, node: Profile.Node) {
        let services = all.filter { $0["spec"]["type"].string == "LoadBalancer" }.sorted {
            $0.key < $1.key
        }
        let names = services.map { service in
            let address = service["status"]["loadBalancer"]["ingress"][0]["ip"].string ?? "<pending>"
            return "\(service.name) (\(address))"
        }
        print(
            """
            Status:
            \tmachine: \(profile.name)
            \tpid: \(getpid())
            \troute: \(profile.plan.loadBalancerRange) -> \(node.address)
            \tminikube: Running
            \tservices: [\(names.joined(separator: ", "))]
                errors:
            \t\tminikube: no errors
            \t\trouter: no errors
            \t\tloadbalancer emulator: no errors
            """)
        fflush(nil)
    }
}
