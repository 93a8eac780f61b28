// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import HTTPServing
import KubeObjects
import Values

/// A request to the kubelet, whatever server took it.
struct ServerRequest: Sendable {
    var method: String
    /// Decoded, without the query.
    var path: String
    var query: [(String, String)]
    var headers: [(String, String)]

    func value(_ name: String) -> String? { query.first { $0.0 == name }?.1 }
    func values(_ name: String) -> [String] { query.filter { $0.0 == name }.map(\.1) }
    func flag(_ names: String...) -> Bool {
        names.contains { name in value(name).map { Bool(queryValue: $0) } ?? false }
    }
    func header(_ name: String) -> String? { headerValues(name).first }
    func headerValues(_ name: String) -> [String] {
        headers.filter { $0.0.lowercased() == name.lowercased() }.map(\.1)
    }
    var upgrade: String { header("upgrade")?.lowercased() ?? "" }
}

/// What the kubelet answers.
enum ServerAnswer: Sendable {
    case bytes(status: Int, type: String, [UInt8])
    case stream(type: String, @Sendable (@escaping @Sendable ([UInt8]) async throws -> Void) async throws -> Void)
    case upgrade(headers: [(String, String)], @Sendable (ByteTransport) async -> Void)
    case redirect(String)

    static func json(_ value: JSON) -> ServerAnswer {
        .bytes(status: 200, type: "application/json", value.serialized())
    }

    static func text(_ status: Int, _ text: String) -> ServerAnswer {
        .bytes(status: status, type: "text/plain; charset=utf-8", Array(text.utf8))
    }

    /// A `Status`: clients print its message.
    static func failure(_ code: Int, _ reason: String, _ message: String) -> ServerAnswer {
        let status: JSON = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "message": JSON(message),
            "reason": JSON(reason), "code": JSON(code),
        ]
        return .bytes(status: code, type: "application/json", status.serialized())
    }
}

/// The kubelet's paths.
struct ServerRoutes: Sendable {
    let context: KubeletContext
    let pods: PodManager
    private let node: NodeRoutes

    init(context: KubeletContext, pods: PodManager) {
        self.context = context
        self.pods = pods
        node = NodeRoutes(context: context, pods: pods)
    }

    func respond(to request: ServerRequest) async -> ServerAnswer {
        let parts = request.path.split(separator: "/").map(String.init)
        switch parts.first {
        case "containerLogs" where parts.count == 4: return await logs(parts, request)
        case "exec" where parts.count == 4 || parts.count == 5: return await command(parts, request, attaches: false)
        case "attach" where parts.count == 4 || parts.count == 5: return await command(parts, request, attaches: true)
        case "run" where parts.count == 4 || parts.count == 5: return await run(parts, request)
        case "portForward" where parts.count == 3 || parts.count == 4: return await portForward(parts, request)
        default: return node.respond(to: request, parts) ?? .text(404, "404 page not found\n")
        }
    }

    /// The worker of the pod that a path names, and the container.
    private func target(
        _ parts: [String], hasContainer: Bool = true
    ) -> Result<(PodWorker, PodView, String), Refusal> {
        let uid = parts.count == (hasContainer ? 5 : 4) ? parts[3] : nil
        guard let (worker, pod) = pods.worker(namespace: parts[1], name: parts[2], uid: uid) else {
            return .failure(
                Refusal(404, "NotFound", "pod \"\(parts[2])\" not found in namespace \"\(parts[1])\" on this node"))
        }
        let name = hasContainer ? parts[parts.count - 1] : ""
        let containers = pod.allContainers + pod.ephemeralContainers
        guard !hasContainer || containers.contains(where: { $0.name == name }) else {
            let names = containers.map(\.name).joined(separator: ", ")
            return .failure(
                Refusal(
                    404, "NotFound", "container \(name) not found in pod \(pod.name)_\(pod.namespace); it has: \(names)"
                ))
        }
        return .success((worker, pod, name))
    }

    struct Refusal: Error {
        let answer: ServerAnswer
        init(_ code: Int, _ reason: String, _ message: String) { answer = .failure(code, reason, message) }
    }

    // MARK: Logs

    private func logs(_ parts: [String], _ request: ServerRequest) async -> ServerAnswer {
        let found: (PodWorker, PodView, String)
        switch target(parts) {
        case .success(let value): found = value
        case .failure(let refusal): return refusal.answer
        }
        let (worker, pod, name) = found
        let wanted: LogRequest
        do throws(LogRequest.Invalid) { wanted = try LogRequest(now: .now, request.value) } catch {
            return .failure(400, "BadRequest", error.message)
        }
        let runtime = context.runtime
        // Asked for before the container is looked at: its end cannot be missed.
        let events = wanted.follow ? runtime.events() : nil
        let attempt: Int
        let id: ContainerID?
        switch await worker.log(of: name, previous: wanted.previous) {
        case .success(let value): (attempt, id) = value
        case .failure(let refusal): return .failure(400, "BadRequest", refusal.message)
        }
        let path = context.configuration.logPath(pod, container: name, attempt: attempt)
        let ended = AsyncStream<Void> { continuation in
            guard let events else { return continuation.finish() }
            // Not structured: it ends with the stream.
            let task = Task {
                for await event in events where event == id.map(RuntimeEvent.exited) { continuation.yield() }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
        let streamer = LogStreamer(
            path: path, request: wanted,
            isLive: { id.flatMap { runtime.container($0) }.map { $0.state != .exited } ?? false }, ended: ended)
        return .stream(type: "text/plain") { write in try await streamer.stream(write) }
    }

    // MARK: Commands

    private func command(_ parts: [String], _ request: ServerRequest, attaches: Bool) async -> ServerAnswer {
        let found: (PodWorker, PodView, String)
        switch target(parts) {
        case .success(let value): found = value
        case .failure(let refusal): return refusal.answer
        }
        let (worker, pod, name) = found
        guard let id = await worker.runningContainer(name) else {
            return .failure(
                500, "InternalError", "container \(name) of pod \(pod.name)_\(pod.namespace) is not running")
        }
        let arguments = request.values("command")
        guard attaches || !arguments.isEmpty else {
            return .failure(400, "BadRequest", "you must specify at least 1 command for the container")
        }
        let view = (pod.allContainers + pod.ephemeralContainers).first { $0.name == name }
        let streams = CommandStreams(
            stdin: request.flag("input", "stdin"), stdout: request.flag("output", "stdout"),
            stderr: request.flag("error", "stderr"), tty: attaches ? view?.tty ?? false : request.flag("tty"))
        guard streams.stdin || streams.stdout || streams.stderr else {
            return .failure(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")
        }
        let runtime = context.runtime
        let body: RemoteCommand.Body = { channels in
            do {
                if attaches {
                    let session = try await runtime.attach(id)
                    return await CommandRunner.run(session, channels, hasInput: streams.stdin).ofAttachment
                }
                let session = try await runtime.exec(
                    id, command: arguments, tty: streams.tty, stdin: streams.stdin, environment: [])
                return await CommandRunner.run(session, channels, hasInput: streams.stdin)
            } catch {
                return .failed("error \(attaches ? "attaching to" : "executing command in") container: \(error)")
            }
        }
        if request.upgrade == "websocket" {
            let offers = WebSocketHandshake.offers(request.headerValues("sec-websocket-protocol"))
            guard let channels = ChannelProtocol.negotiate(offers) else {
                return .failure(403, "Forbidden", "none of the subprotocols \(offers) is spoken here")
            }
            return upgrade(request, channels.name) { await RemoteCommand.webSocket($0, channels, streams, body) }
        }
        guard request.upgrade == "spdy/3.1" else { return Self.upgradeRequired }
        let offers = WebSocketHandshake.offers(request.headerValues("x-stream-protocol-version"))
        guard let (chosen, version) = RemoteCommand.negotiate(offers) else {
            return .failure(403, "Forbidden", "none of the stream protocols \(offers) is spoken here")
        }
        return .upgrade(headers: Self.spdyHeaders(chosen)) {
            await RemoteCommand.spdy($0, version: version, streams, body)
        }
    }

    private static let upgradeRequired = ServerAnswer.failure(
        400, "BadRequest", "you must request an upgrade: Upgrade: websocket, or Upgrade: SPDY/3.1")

    private static func spdyHeaders(_ chosen: String?) -> [(String, String)] {
        var headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
        if let chosen { headers.append(("X-Stream-Protocol-Version", chosen)) }
        return headers
    }

    private func upgrade(
        _ request: ServerRequest, _ chosen: String?, _ body: @escaping @Sendable (ByteTransport) async -> Void
    ) -> ServerAnswer {
        let answer = WebSocketHandshake.answer(
            key: request.header("sec-websocket-key"), version: request.header("sec-websocket-version"), chosen: chosen)
        switch answer {
        case .success(let headers): return .upgrade(headers: headers, body)
        case .failure(let refusal): return .failure(400, "BadRequest", refusal.message)
        }
    }

    private func run(_ parts: [String], _ request: ServerRequest) async -> ServerAnswer {
        switch target(parts) {
        case .failure(let refusal): return refusal.answer
        case .success((let worker, let pod, let name)):
            guard let id = await worker.runningContainer(name) else {
                return .failure(
                    500, "InternalError", "container \(name) of pod \(pod.name)_\(pod.namespace) is not running")
            }
            let command = request.values("cmd").flatMap { $0.split(separator: " ").map(String.init) }
            do {
                let (code, output) = try await context.runtime.execSync(
                    id, command: command, timeoutSeconds: nil, limit: 1 << 20)
                return .bytes(status: code == 0 ? 200 : 500, type: "text/plain; charset=utf-8", output)
            } catch {
                return .failure(500, "InternalError", "\(error)")
            }
        }
    }

    // MARK: Ports

    private func portForward(_ parts: [String], _ request: ServerRequest) async -> ServerAnswer {
        let found: (PodWorker, PodView, String)
        switch target(parts, hasContainer: false) {
        case .success(let value): found = value
        case .failure(let refusal): return refusal.answer
        }
        let (worker, pod, _) = found
        guard let network = await worker.network() else {
            return .failure(
                500, "InternalError", "pod \(pod.name)_\(pod.namespace) has no network yet; its phase is \(pod.phase)")
        }
        let connect: PortForward.Connect = { port, fromClient, toClient in
            try await PodConnector.connect(
                port: port, netnsPath: network.path, fromClient: fromClient, toClient: toClient)
        }
        let title = "\(pod.name), uid : \(pod.uid)"
        if request.upgrade == "websocket" {
            let offers = WebSocketHandshake.offers(request.headerValues("sec-websocket-protocol"))
            if offers.contains(PortForward.tunnelProtocol) {
                return upgrade(request, PortForward.tunnelProtocol) {
                    await PortForward.tunnel($0, pod: title, connect)
                }
            }
            let ports = (request.values("ports") + request.values("port")).flatMap { $0.split(separator: ",") }.map {
                Int($0)
            }
            let numbers = ports.compactMap { $0 }.filter { (1...65535).contains($0) }
            guard let channels = ChannelProtocol.negotiate(offers, accepts: { $0.version == 4 }) else {
                return .failure(403, "Forbidden", "none of the subprotocols \(offers) is spoken here")
            }
            guard !numbers.isEmpty, numbers.count == ports.count, numbers.count <= 100 else {
                return .failure(400, "BadRequest", "query parameter \"ports\" must name 1 to 100 ports from 1 to 65535")
            }
            return upgrade(request, channels.name) {
                await PortForward.channels($0, channels, ports: numbers, pod: title, connect)
            }
        }
        guard request.upgrade == "spdy/3.1" else { return Self.upgradeRequired }
        let offers = WebSocketHandshake.offers(request.headerValues("x-stream-protocol-version"))
        guard offers.isEmpty || offers.contains(PortForward.spdyProtocol) else {
            return .failure(403, "Forbidden", "none of the stream protocols \(offers) is spoken here")
        }
        return .upgrade(headers: Self.spdyHeaders(offers.isEmpty ? nil : PortForward.spdyProtocol)) {
            await PortForward.spdy($0, pod: title, connect)
        }
    }
}

/// What the server asks of a pod's worker.
extension PodWorker {
    struct LogRefusal: Error {
        let message: String
    }

    /// The attempt whose log is asked for, and the container that may still write it.
    func log(of name: String, previous: Bool) -> Result<(Int, ContainerID?), LogRefusal> {
        guard let record = machine.records[name] else {
            return .failure(LogRefusal(message: "container \(name) is not valid for pod \(pod.name)"))
        }
        if previous {
            guard record.restartCount > 0 else {
                return .failure(
                    LogRefusal(
                        message: "previous terminated container \"\(name)\" in pod \"\(pod.name)\" not found"))
            }
            return .success((record.restartCount - 1, nil))
        }
        if case .waiting(let reason, _) = record.state, record.last == nil {
            return .failure(
                LogRefusal(message: "container \"\(name)\" in pod \"\(pod.name)\" is waiting to start: \(reason)"))
        }
        return .success((record.restartCount, record.containerID))
    }

    func runningContainer(_ name: String) -> ContainerID? { machine.runningContainer(name) }

    /// Where the pod's network is: nil without a sandbox, a nil path for the node's own.
    func network() -> PodNetwork? {
        machine.sandbox.flatMap(context.runtime.sandbox).map { PodNetwork(path: $0.netnsPath) }
    }

    struct PodNetwork: Sendable {
        let path: String?
    }
}
