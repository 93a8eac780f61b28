// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster
import Values

struct ProfileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Names the active profile, changes it, or lists all.",
        subcommands: [List.self, Set.self], defaultSubcommand: Set.self)

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(shouldDisplay: false)
        @Argument var name: String?
        @OptionGroup var common: ProfileOptions

        func run() throws {
            guard let name else {
                print(try common.name)
                return
            }
            let store = ProfileStore()
            let profile = try store.load(ProfileName(name))
            try store.setActive(profile.name)
            Terminal.line("✅", "catbird profile was successfully set to \(name)")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists all profiles.")
        @Option(name: [.customShort("o"), .long], help: "table or json.") var output: String = "table"
        @Flag(name: [.customShort("l"), .long], help: "Without their status.") var light = false
        @OptionGroup var common: ProfileOptions

        func run() throws {
            let store = ProfileStore()
            // A damaged note of which is active is told by the verbs that would follow it.
            let active = try? store.activeProfile
            var profiles: [Profile] = []
            var broken: [ProfileName] = []
            for name in store.names() {
                do { profiles.append(try store.load(name)) } catch { broken.append(name) }
            }
            switch output {
            case "json":
                let document: JSON = [
                    "invalid": .array(broken.map { ["Name": JSON($0.text)] }),
                    "valid": .array(profiles.map { json($0, store, isActive: active == $0.name) }),
                ]
                print(document.text())
            case "table":
                guard !profiles.isEmpty else {
                    throw LocalClusterError(
                        .guestNotFound, "No profile was found.", nextStep: "To create one: catbird start -p NAME")
                }
                var table = BoxTable(
                    "Profile", "Driver", "Runtime", "IP", "Version", "Status", "Nodes", "Active Profile",
                    "Active Kubecontext")
                let context = Kubeconfig().currentContext
                for profile in profiles {
                    table.rows.append([
                        profile.name.text, "namespaces", "crun", profile.controlPlaneNode?.address.description ?? "",
                        Version.kubernetes, status(profile, store), "\(profile.nodes.count)",
                        active == profile.name ? "*" : "", context == profile.name.text ? "*" : "",
                    ])
                }
                print(table.text)
            default: throw ValidationError("--output \(output) is not known: table or json.")
            }
        }

        private func status(_ profile: Profile, _ store: ProfileStore) -> String {
            light ? "Skipped" : store.isRunning(profile.name) ? "OK" : "Stopped"
        }

        private func json(_ profile: Profile, _ store: ProfileStore, isActive: Bool) -> JSON {
            [
                "Name": JSON(profile.name.text), "Status": JSON(status(profile, store)),
                "Active": JSON(isActive),
                "ActiveKubeContext": JSON(Kubeconfig().currentContext == profile.name.text),
                "Config": [
                    "Name": JSON(profile.name.text), "Driver": "namespaces",
                    "KubernetesConfig": ["KubernetesVersion": JSON(Version.kubernetes), "ContainerRuntime": "crun"],
                    "Nodes": .array(
                        profile.nodes.enumerated().map { index, node in
                            [
                                "Name": index == 0
                                    ? "" : JSON(String(node.name.dropFirst(profile.name.text.count + 1))),
                                "IP": JSON(node.address.description), "Port": JSON(Profile.apiPort),
                                "KubernetesVersion": JSON(Version.kubernetes), "ContainerRuntime": "crun",
                                "ControlPlane": JSON(index == 0), "Worker": true,
                            ]
                        }),
                ],
            ]
        }
    }
}

struct IP: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ip", abstract: "Prints a node's address.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("n"), .long], help: "The node; the first one if not said.") var node: String?

    func run() throws {
        let store = ProfileStore()
        let profile = try store.load(common.name)
        guard store.isRunning(profile.name) else {
            throw LocalClusterError(
                .guestNotRunning, "Profile \"\(profile.name)\" is not running.",
                nextStep: "Start it: catbird start -p \(profile.name)")
        }
        let found = try node.map { try NodeCommand.node($0, in: profile) } ?? profile.controlPlaneNode
        if let found { print(found.address) }
    }
}
