// SPDX-License-Identifier: Apache-2.0

/// What a plugin is asked to do: `CNI_COMMAND`.
public enum CNICommand: String, Sendable, Hashable, CaseIterable {
    case add = "ADD"
    case delete = "DEL"
    case check = "CHECK"
    case garbageCollect = "GC"
    case status = "STATUS"
    case version = "VERSION"

    /// The first version of the specification that knows the command.
    public var since: CNIVersion {
        switch self {
        case .add, .delete, .version: .v0_3_0
        case .check: .v0_4_0
        case .garbageCollect, .status: .v1_1_0
        }
    }
}

/// The parameters of a call, from the environment.
public struct CNIParameters: Sendable, Hashable {
    public var command: CNICommand
    public var containerID: String
    public var netns: String
    public var ifName: String
    public var arguments: CNIArguments
    public var path: String
    /// Whether another plugin asks for addresses alone: the program was called as `calico-ipam`.
    public var isIPAM = false

    public init(
        command: CNICommand, containerID: String = "", netns: String = "", ifName: String = "",
        arguments: CNIArguments = CNIArguments(), path: String = "", isIPAM: Bool = false
    ) {
        self.command = command
        self.containerID = containerID
        self.netns = netns
        self.ifName = ifName
        self.arguments = arguments
        self.path = path
        self.isIPAM = isIPAM
    }

    /// The name of the program says what it is called for: one that ends in `-ipam` gives addresses and no more.
    public static func isIPAM(program: String) -> Bool {
        (program.split(separator: "/").last ?? "").hasSuffix("-ipam")
    }

    /// Where the network namespace is: `netns` as it was given, or that of a process where a bare number was.
    public var netnsPath: String {
        guard !netns.isEmpty, netns.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return netns }
        return "/proc/\(netns)/ns/net"
    }

    /// Reads and checks the environment; the error names the variables that are missing or malformed.
    public init(environment: (String) -> String?, isIPAM: Bool = false) throws(CNIError) {
        guard let name = environment("CNI_COMMAND"), !name.isEmpty else {
            throw CNIError(
                .invalidEnvironment, "CNI_COMMAND is not set",
                details: "this program is a CNI plugin: container runtimes start it, see https://cni.dev")
        }
        guard let command = CNICommand(rawValue: name) else {
            throw CNIError(
                .invalidEnvironment, "CNI_COMMAND is \"\(name)\"",
                details: "known are \(CNICommand.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.init(
            command: command, containerID: environment("CNI_CONTAINERID") ?? "", netns: environment("CNI_NETNS") ?? "",
            ifName: environment("CNI_IFNAME") ?? "",
            arguments: try CNIArguments(parsing: environment("CNI_ARGS") ?? ""), path: environment("CNI_PATH") ?? "",
            isIPAM: isIPAM)
        try check()
    }

    private func check() throws(CNIError) {
        var missing: [String] = []
        switch command {
        case .add, .check:
            if containerID.isEmpty { missing.append("CNI_CONTAINERID") }
            if netns.isEmpty { missing.append("CNI_NETNS") }
            if ifName.isEmpty { missing.append("CNI_IFNAME") }
        case .delete:
            if containerID.isEmpty { missing.append("CNI_CONTAINERID") }
            if ifName.isEmpty { missing.append("CNI_IFNAME") }
        case .garbageCollect, .status, .version: break
        }
        guard missing.isEmpty else {
            throw CNIError(
                .invalidEnvironment,
                "\(command.rawValue) needs \(missing.joined(separator: ", ")), which \(missing.count == 1 ? "is" : "are") not set"
            )
        }
        if !containerID.isEmpty, !Self.isContainerID(containerID) {
            throw CNIError(
                .invalidEnvironment, "CNI_CONTAINERID \"\(containerID)\" is malformed",
                details: "it starts with a letter or digit, followed by letters, digits, '_', '.' and '-'")
        }
        if !ifName.isEmpty, !Self.isInterfaceName(ifName) {
            throw CNIError(
                .invalidEnvironment, "CNI_IFNAME \"\(ifName)\" is not an interface name",
                details: "it has 1 to 15 bytes, no '/', ':' or white space, and is neither '.' nor '..'")
        }
    }

    static func isContainerID(_ text: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        guard let first = text.utf8.first, isAlphanumeric(first) else { return false }
        return text.utf8.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
        }
    }

    static func isInterfaceName(_ text: String) -> Bool {
        (1...15).contains(text.utf8.count) && text != "." && text != ".."
            && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
    }
}

/// `CNI_ARGS`: names and values, `K8S_POD_NAME=web;K8S_POD_NAMESPACE=default`.
public struct CNIArguments: Sendable, Hashable {
    public var values: [String: String]

    public init(_ values: [String: String] = [:]) { self.values = values }

    public init(parsing text: String) throws(CNIError) {
        values = [:]
        for pair in text.split(separator: ";") {
            guard let equals = pair.firstIndex(of: "="), equals > pair.startIndex else {
                throw CNIError(
                    .invalidEnvironment, "CNI_ARGS holds \"\(pair)\", which is not KEY=VALUE",
                    details: "the form is KEY=VALUE;KEY=VALUE")
            }
            values[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
        }
    }

    public subscript(name: String) -> String? { values[name] }

    public var text: String {
        values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ";")
    }
}
