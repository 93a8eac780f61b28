// SPDX-License-Identifier: Apache-2.0

import CLinux
import CNIProtocol
import Glibc
import Values

/// Becoming `catbird plugin`, which does without an agent what the agent does.
enum Handover {
    /// Whether the configuration is for no agent: its datastore is a folder, or its addresses are another plugin's.
    static func isNeeded(
        _ parameters: CNIParameters, _ configuration: NetworkConfiguration
    ) throws(CNIError) -> Bool {
        let json = configuration.json
        let ipam = try ipamType(json["ipam"])
        switch json["datastore"] {
        case nil, .null, .string("kubernetes"): break
        case .string("file"): return true
        case .some(let value):
            throw CNIError(
                .invalidConfiguration, "datastore is \(value), which is neither \"kubernetes\" nor \"file\"",
                details: "leave it out for the agent of a cluster's node")
        }
        if let type = json["datastore_type"], !type.isNull, type.string != "kubernetes" {
            throw CNIError(
                .unsupportedField, "datastore_type is \(type), and Catbird keeps addresses in Kubernetes alone",
                details: "set it to \"kubernetes\", or set \"datastore\": \"file\" for a machine without a cluster")
        }
        guard let ipam else { return false }
        return !parameters.isIPAM && ipam != "calico-ipam" && ipam != "catbird-ipam"
    }

    /// Who gives the addresses; nil when the configuration does not say.
    private static func ipamType(_ ipam: JSON?) throws(CNIError) -> String? {
        guard let ipam, !ipam.isNull else { return nil }
        guard ipam.object != nil else {
            throw CNIError(
                .invalidConfiguration, "ipam is \(ipam), which is not an object such as {\"type\": \"calico-ipam\"}")
        }
        guard let type = ipam["type"], !type.isNull else { return nil }
        guard let name = type.string, !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
            throw CNIError(.invalidConfiguration, "ipam.type is \(type), which is not the name of an IPAM plugin")
        }
        return name
    }

    /// Whether there is a kubeconfig to work with.
    static func isPossible(_ configuration: NetworkConfiguration) -> Bool {
        let path = configuration.json["kubernetes"]["kubeconfig"].string ?? configuration.json["kubeconfig"].string
        return path.map { access($0, R_OK) == 0 } ?? false
    }

    /// Where the program is looked for: where the configuration says, beside this one, and where it is installed.
    private static func candidates(_ configuration: NetworkConfiguration) -> [String] {
        if let path = configuration.json["catbird"].string { return [path] }
        var own = [CChar](repeating: 0, count: 4097)
        let count = readlink("/proc/self/exe", &own, own.count - 1)
        let path = String(decoding: own.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = path.lastIndex(of: "/").map { path[..<$0] } ?? ""
        return ["\(folder)/catbird", "/usr/local/bin/catbird", "/usr/bin/catbird"]
    }

    /// Does not return, unless it fails.
    static func run(_ configuration: NetworkConfiguration, _ input: [UInt8], _ isIPAM: Bool) -> CNIError {
        let candidates = candidates(configuration)
        guard let program = candidates.first(where: { access($0, X_OK) == 0 }) else {
            return CNIError(
                .plugin, "the program catbird, which connects containers where there is no agent, was not found",
                details:
                    "looked for \(candidates.joined(separator: ", ")); put it there, or name it with the key \"catbird\""
            )
        }
        let memory = catbird_memfd("network")
        guard memory >= 0, write(input, to: memory), lseek(memory, 0, SEEK_SET) == 0, dup2(memory, 0) == 0 else {
            return CNIError(.inputOutput, "standard input cannot be handed on: \(String(cString: strerror(errno)))")
        }
        let words = [program, "plugin"] + (isIPAM ? ["ipam"] : [])
        let arguments = words.map { strdup($0) } + [nil]
        execv(program, arguments)
        return CNIError(.plugin, "\(program) cannot be started: \(String(cString: strerror(errno)))")
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if written > 0 { done += written } else if errno != EINTR { return false }
        }
        return true
    }
}
