// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization
import Values

/// A request for a resource on its way through the server.
struct RequestContext: Sendable {
    let request: IncomingRequest
    let info: RequestInfo
    let user: UserInfo
    let type: ResourceType
    let warnings = Warnings()

    var namespace: String? { type.isNamespaced ? info.namespace : nil }
    var resource: GroupVersionResource { type.resource }

    /// The name in the path; asked for only where the route has one.
    var name: String { info.name ?? "" }

    /// `dryRun=All`: everything happens but the write.
    var isDryRun: Bool { request.query("dryRun") == "All" }

    /// What is done about unknown and duplicate fields.
    enum FieldValidation: String { case strict = "Strict", warn = "Warn", ignore = "Ignore" }

    func fieldValidation() throws(StatusError) -> FieldValidation {
        guard let text = request.query("fieldValidation"), !text.isEmpty else { return .warn }
        guard let directive = FieldValidation(rawValue: text) else {
            throw refusal([.notSupported("fieldValidation", JSON(text), ["Ignore", "Strict", "Warn"])])
        }
        return directive
    }

    /// Who writes, for `metadata.managedFields`: the name that the client gives itself, else its user agent's.
    func writer(_ operation: ManagedFields.Operation) -> ManagedFields.Writer {
        let agent = request.userAgent.prefix { $0 != "/" }
        let name = fieldManager ?? (agent.isEmpty ? user.name : String(agent.prefix(128)))
        return ManagedFields.Writer(
            manager: name, operation: operation, apiVersion: type.apiVersion, subresource: info.subresource)
    }

    var fieldManager: String? { request.query("fieldManager").flatMap { $0.isEmpty ? nil : $0 } }

    /// Refuses options of a write that mean nothing.
    func checkOptions() throws(StatusError) {
        var errors: [FieldError] = []
        if let dryRun = request.query("dryRun"), !dryRun.isEmpty, dryRun != "All" {
            errors.append(.notSupported("dryRun", [JSON(dryRun)], ["All"]))
        }
        if let manager = request.query("fieldManager") {
            if manager.utf8.count > 128 {
                errors.append(FieldError(.tooLong, "fieldManager", detail: "may not be more than 128 bytes"))
            }
            if let strange = manager.unicodeScalars.first(where: { !$0.properties.isPrintable }) {
                errors.append(
                    .invalid(
                        "fieldManager", JSON(manager),
                        "should only contain printable characters (found \(JSON(String(Character(strange)))))"))
            }
        }
        if !errors.isEmpty { throw refusal(errors) }
    }

    /// The answer to options that mean nothing: their kind goes by what is done.
    private func refusal(_ errors: [FieldError]) -> StatusError {
        let kind =
            switch request.method {
            case "POST": "CreateOptions"
            case "PUT": "UpdateOptions"
            case "PATCH": "PatchOptions"
            case "DELETE": "DeleteOptions"
            default: "ListOptions"
            }
        return .invalid(("meta.k8s.io", kind), name: "", errors)
    }
}

/// What the client should hear although the request succeeds: sent as Warning headers.
final class Warnings: Sendable {
    private let texts = Mutex<[String]>([])

    func add(_ text: String) {
        texts.withLock { if !$0.contains(text) { $0.append(text) } }
    }

    var headers: [(name: String, value: String)] {
        texts.withLock { $0 }.map { ("Warning", "299 - \(JSON($0).text())") }
    }
}

extension Unicode.Scalar.Properties {
    /// As Go counts it: letters, marks, numbers, punctuation, symbols, and the plain space.
    fileprivate var isPrintable: Bool {
        switch generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: isPatternWhitespace
        default: true
        }
    }
}
