// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ContainerRuntime
import LocalCluster
import Values
import YAMLCoding

struct Image: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The image store, which all nodes share.",
        subcommands: [Load.self, List.self, Pull.self, Tag.self, Remove.self])

    static func store() -> ImageStore { ImageStore(root: ProfileStore().machine.images) }

    /// What the store says of an image becomes what the program says.
    static func explaining<Result>(_ body: () async throws -> Result) async throws -> Result {
        do { return try await body() } catch let error as ImageError {
            throw LocalClusterError(.guestError, error.message)
        }
    }

    struct Load: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Loads a docker or OCI archive; no node needs it again.")
        @OptionGroup var common: ProfileOptions
        @Argument(help: "Archives: .tar, .tar.gz; - for standard input.") var archives: [String]

        func run() async throws {
            for archive in archives {
                _ = try await Image.explaining {
                    let store = Image.store()
                    return archive == "-" ? try await store.load(from: 0) : try await store.load(archive: archive)
                }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "ls", abstract: "Lists images.", aliases: ["list"])
        @OptionGroup var common: ProfileOptions
        @Option(help: "short, table, json or yaml.") var format: String = "short"

        func run() async throws {
            let images = Image.store().list().sorted { $0.reference < $1.reference }
            switch format {
            case "short": for name in images.flatMap(\.names).sorted() { print(name) }
            case "json", "yaml":
                let list = JSON.array(
                    images.map {
                        [
                            "id": JSON($0.id), "repoDigests": JSON($0.repoDigests),
                            "repoTags": JSON($0.repoTags), "size": JSON("\($0.sizeBytes)"),
                        ]
                    })
                if format == "json" { print(list.text()) } else { Terminal.write(1, YAML.text(list)) }
            case "table":
                var table = BoxTable("Image", "Image ID", "Size")
                for image in images {
                    let id = image.id.hasPrefix("sha256:") ? String(image.id.dropFirst(7).prefix(13)) : image.id
                    for name in image.names { table.rows.append([name, id, "\(image.sizeBytes / 1000)kB"]) }
                }
                print(table.text)
            default: throw ValidationError("--format \(format) is not known: short, table, json or yaml.")
            }
        }
    }

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Pulls an image from its registry.")
        @OptionGroup var common: ProfileOptions
        @Argument var references: [String]

        func run() async throws {
            // What this command finds in its own environment, else what the cluster was started with.
            var pulls = (try? ProfileStore().load(try common.name))?.pulls ?? PullSettings()
            let own = PullSettings(surroundings: HostEnvironment.current)
            if own.surroundings.values.contains(where: { !$0.isEmpty }) {
                pulls.environment = [:]
                pulls.surroundings = own.surroundings
            }
            let store = ImageStore(root: ProfileStore().machine.images, registries: pulls.registries)
            for reference in references {
                if let proxy = store.proxy(for: reference) {
                    Terminal.line("🔗", "Pulling \(reference) through the proxy \(proxy)")
                }
                _ = try await Image.explaining { try await store.pull(reference, credentials: []) }
            }
        }
    }

    struct Tag: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Gives an image one more name.")
        @OptionGroup var common: ProfileOptions
        @Argument var source: String
        @Argument var name: String

        func run() async throws {
            try await Image.explaining { try Image.store().tag(source, as: name) }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Removes images.", aliases: ["remove"])
        @OptionGroup var common: ProfileOptions
        @Argument var references: [String]

        func run() async throws {
            for reference in references { try await Image.explaining { try Image.store().remove(reference) } }
        }
    }
}

extension LocalImage {
    /// Every name that it goes by; what it is known as where it has no tag.
    fileprivate var names: [String] { repoTags.isEmpty ? [reference] : repoTags }
}
