// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Values

/// One run of the plugin.
enum Plugin {
    struct Outcome {
        let output: [UInt8]
        let isSuccess: Bool
    }

    static func run() -> Outcome {
        // Errors are printed in the version that was asked for, as far as it has been read.
        var version = CNIVersion.newest.rawValue
        do {
            return Outcome(output: try answer(&version), isSuccess: true)
        } catch let error as CNIError {
            return Outcome(output: error.json(version: version).serialized(indent: 4) + [0x0A], isSuccess: false)
        } catch {
            let unforeseen = CNIError(.plugin, "\(error)")
            return Outcome(output: unforeseen.json(version: version).serialized(indent: 4) + [0x0A], isSuccess: false)
        }
    }

    private static func answer(_ version: inout String) throws -> [UInt8] {
        let isIPAM = CNIParameters.isIPAM(program: CommandLine.arguments.first ?? "")
        let parameters = try CNIParameters(
            environment: { name in getenv(name).map { String(cString: $0) } }, isIPAM: isIPAM)
        let input: [UInt8]
        do throws(SystemFailure) { input = try Input.readAll(limit: AgentMessage.maximumLength) } catch {
            throw CNIError(
                .inputOutput, "the network configuration cannot be read from standard input: \(error)",
                details: "it has at most \(AgentMessage.maximumLength) bytes")
        }
        if parameters.command == .version {
            let asked = try? JSON(parsing: input)["cniVersion"].string
            if let asked { version = asked }
            return PluginVersions().json(asked: asked).serialized() + [0x0A]
        }
        if let asked = try? JSON(parsing: input)["cniVersion"].string { version = asked }
        let configuration = try NetworkConfiguration(parsing: input)
        version = configuration.cniVersion.rawValue
        guard configuration.cniVersion >= parameters.command.since else {
            throw CNIError(
                .incompatibleVersion,
                "\(parameters.command.rawValue) came with version \(parameters.command.since) of the specification",
                details: "the configuration's cniVersion is \(configuration.cniVersion)")
        }
        if try Handover.isNeeded(parameters, configuration) { throw Handover.run(configuration, input, isIPAM) }
        let result: JSON
        do {
            result = try Agent.ask(parameters, configuration)
        } catch let absence as Agent.Absence {
            // Whoever names a kubeconfig does without an agent where there is none.
            guard Handover.isPossible(configuration) else { throw absence.error }
            throw Handover.run(configuration, input, isIPAM)
        }
        return parameters.command == .add ? result.serialized() + [0x0A] : []
    }
}

/// The conversation with the agent.
enum Agent {
    /// Nobody listens.
    struct Absence: Error {
        let error: CNIError
    }

    static func ask(_ parameters: CNIParameters, _ configuration: NetworkConfiguration) throws -> JSON {
        let path = configuration.json["agentSocket"].string ?? AgentMessage.socketPath
        let namespace = try openNamespace(parameters)
        defer { if let namespace { close(namespace) } }
        let connection: Connection
        do throws(SystemFailure) { connection = try Connection(path) } catch {
            let problem = unreachable(parameters.command, path, error)
            if error.code == ENOENT || error.code == ECONNREFUSED { throw Absence(error: problem) }
            throw problem
        }
        let answer: JSON
        do throws(SystemFailure) {
            answer = try converse(
                connection, AgentMessage.frame(AgentMessage.request(parameters, configuration.json)), namespace)
        } catch {
            throw interrupted(parameters.command, error)
        }
        return try AgentMessage.parse(reply: answer)
    }

    private static func converse(
        _ connection: borrowing Connection, _ request: [UInt8], _ namespace: Int32?
    ) throws(SystemFailure) -> JSON {
        try connection.send(request, descriptor: namespace)
        guard let length = AgentMessage.length(try connection.receive(4)) else {
            throw SystemFailure(call: "recv", code: EMSGSIZE)
        }
        guard let json = try? JSON(parsing: try connection.receive(length)) else {
            throw SystemFailure(call: "recv", code: EBADMSG)
        }
        return json
    }

    /// DEL comes without a namespace, or with one that is gone.
    private static func openNamespace(_ parameters: CNIParameters) throws(CNIError) -> Int32? {
        guard !parameters.netns.isEmpty, !parameters.isIPAM else { return nil }
        let descriptor = open(parameters.netnsPath, O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 { return descriptor }
        if parameters.command == .delete { return nil }
        throw CNIError(
            .invalidEnvironment, "CNI_NETNS \(parameters.netns) cannot be opened: \(String(cString: strerror(errno)))")
    }

    private static func unreachable(_ command: CNICommand, _ path: String, _ failure: SystemFailure) -> CNIError {
        let details =
            "\(path): \(failure.description); the agent is the pod calico-node of this node: kubectl get pods -n kube-system -l k8s-app=calico-node"
        switch command {
        case .status: return CNIError(.notAvailable, "the node agent is not running", details: details)
        default:
            return CNIError(
                .tryAgainLater, "the node agent is not running, \(command.rawValue) will have to be repeated",
                details: details)
        }
    }

    private static func interrupted(_ command: CNICommand, _ failure: SystemFailure) -> CNIError {
        CNIError(
            command == .status ? .notAvailable : .tryAgainLater,
            "the node agent ended before it answered, \(command.rawValue) will have to be repeated",
            details: failure.description)
    }
}
