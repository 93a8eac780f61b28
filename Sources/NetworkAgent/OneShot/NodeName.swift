// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Values

/// Which node of the cluster this machine is.
enum NodeName {
    /// By the configuration, by the file that Calico's node writes, by the host's name: the first that there is.
    static func find(_ configuration: NetworkConfiguration) throws(CNIError) -> String {
        let json = configuration.json
        if let name = json["nodename"].string, !name.isEmpty {
            guard !name.hasPrefix("__") else {
                throw CNIError(
                    .invalidConfiguration, "nodename is still the placeholder \(name)",
                    details: "put the node's name in its place, or leave nodename out")
            }
            return name
        }
        let path = json["nodename_file"].string ?? "/var/lib/calico/nodename"
        if let text = try? Files.text(path) {
            let name = text.filter { !$0.isWhitespace }
            if !name.isEmpty { return name }
        } else if json["nodename_file"].string != nil, json["nodename_file_optional"].bool != true {
            throw CNIError(
                .invalidConfiguration, "nodename_file \(path) cannot be read",
                details: "it is written when the node's agent starts; nodename_file_optional does without it")
        }
        if let name = json["hostname"].string, !name.isEmpty { return name }
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else {
            throw CNIError(.plugin, "the machine's name cannot be read", details: "set nodename")
        }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
    }
}
