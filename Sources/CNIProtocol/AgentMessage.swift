// SPDX-License-Identifier: Apache-2.0

public import Values

/// The framing between plugin and agent: a length of four bytes in network order, then that many bytes of JSON. The
/// descriptor of the network namespace travels with the length.
public enum AgentMessage {
    public static let socketPath = "/var/run/catbird/agent.sock"
    /// A longer message is refused.
    public static let maximumLength = 1 << 20

    public static func frame(_ json: JSON) -> [UInt8] {
        let body = json.serialized()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(body.count + 4)
        bytes.appendBigEndian(UInt32(truncatingIfNeeded: body.count))
        bytes += body
        return bytes
    }

    /// The length that a frame announces; nil when it is more than what is taken.
    public static func length(_ header: some Collection<UInt8>) -> Int? {
        guard header.count == 4 else { return nil }
        let length = header.reduce(0) { $0 << 8 | Int($1) }
        return length <= maximumLength ? length : nil
    }

    public static func request(_ parameters: CNIParameters, _ configuration: JSON) -> JSON {
        [
            "command": JSON(parameters.command.rawValue), "containerID": JSON(parameters.containerID),
            "netns": JSON(parameters.netns), "ipam": JSON(parameters.isIPAM), "ifName": JSON(parameters.ifName),
            "args": JSON(parameters.arguments.values), "config": configuration,
        ]
    }

    /// The parameters and the configuration of a request.
    public static func parse(request json: JSON) throws(CNIError) -> (CNIParameters, NetworkConfiguration) {
        guard let command = json["command"].string.flatMap(CNICommand.init(rawValue:)) else {
            throw CNIError(.undecodable, "the request names no known command")
        }
        let parameters = CNIParameters(
            command: command, containerID: json["containerID"].string ?? "", netns: json["netns"].string ?? "",
            ifName: json["ifName"].string ?? "", arguments: CNIArguments(json["args"].object?.strings ?? [:]),
            isIPAM: json["ipam"].bool ?? false)
        return (parameters, try NetworkConfiguration(json["config"] ?? [:]))
    }

    public static func reply(result: JSON?) -> JSON { ["result": result ?? .object([:])] }
    public static func reply(error: CNIError) -> JSON { ["error": error.json()] }

    /// What the agent answered: a result, which is empty unless the command was ADD.
    public static func parse(reply json: JSON) throws(CNIError) -> JSON {
        if let error = json["error"] {
            throw CNIError(error) ?? CNIError(.undecodable, "the agent's error cannot be read: \(error)")
        }
        guard let result = json["result"] else { throw CNIError(.undecodable, "the agent's answer holds no result") }
        return result
    }
}
