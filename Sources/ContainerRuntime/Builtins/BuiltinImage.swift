// SPDX-License-Identifier: Apache-2.0

/// An image that Catbird makes itself, from its own program and busybox.
public struct BuiltinImage: Sendable, Hashable {
    /// `catbird/ctl`; the tag is the version.
    public var name: String
    /// References of originals for which it answers, without a tag: any tag matches.
    public var standsInFor: [String]
    public var layers: [Layer]
    public var entrypoint: [String]
    public var command: [String]
    public var environment: [String]
    public var workingDirectory: String
    public var exposedPorts: [String]

    /// A part that images share.
    public enum Layer: Sendable, Hashable {
        /// `/bin/busybox` and links for its applets, with the usual empty directories and /etc files.
        case busybox
        /// `/usr/bin/catbird`, the plugin, and the libraries they load.
        case catbird
        /// BIRD 2 and its client where this machine has them (package bird2), with the libraries they load.
        case bird
        /// Files written out: path, permissions, content.
        case files([File])
    }

    public struct File: Sendable, Hashable {
        public enum Content: Sendable, Hashable {
            case text(String)
            case link(String)
        }
        public var path: String
        public var permissions: UInt16
        public var content: Content

        public init(_ path: String, permissions: UInt16 = 0o644, text: String) {
            self.path = path
            self.permissions = permissions
            content = .text(text)
        }

        public init(_ path: String, linkTo target: String) {
            self.path = path
            permissions = 0o777
            content = .link(target)
        }
    }

    public init(
        name: String, standsInFor: [String] = [], layers: [Layer], entrypoint: [String] = [], command: [String] = [],
        environment: [String] = [], workingDirectory: String = "/", exposedPorts: [String] = []
    ) {
        self.name = name
        self.standsInFor = standsInFor
        self.layers = layers
        self.entrypoint = entrypoint
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.exposedPorts = exposedPorts
    }
}
