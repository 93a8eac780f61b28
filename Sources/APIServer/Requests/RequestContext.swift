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
    var isDryRun: Bool { !request.queryValues("dryRun").isEmpty }

    /// How an answer is written that is of another kind than the resource, and so neither a table nor metadata alone.
    func plainEncoding() throws(StatusError) -> OutputEncoding {
        let forms = AcceptableForms(hasViews: false)
        guard let negotiated = Negotiated(request, forms) else { throw forms.refusal }
        return negotiated.encoding
    }

    /// What is done about unknown and duplicate fields.
    enum FieldValidation: String { case strict = "Strict", warn = "Warn", ignore = "Ignore" }

    /// Unset is `Warn`. `checkOptions` has refused anything that is none of the three.
    var fieldValidation: FieldValidation {
        request.query("fieldValidation").flatMap { FieldValidation(rawValue: $0) } ?? .warn
    }

    /// Who writes, for `metadata.managedFields`: the name that the client gives itself, else its user agent's.
    func writer(_ operation: ManagedFields.Operation) -> ManagedFields.Writer {
        ManagedFields.Writer(
            manager: fieldManager ?? WriteOptions.manager(ofUserAgent: request.userAgent), operation: operation,
            apiVersion: type.apiVersion, subresource: info.subresource)
    }

    var fieldManager: String? { request.query("fieldManager").flatMap { $0.isEmpty ? nil : $0 } }

    /// The options of a write, which Kubernetes checks together.
    func checkOptions() throws(StatusError) {
        let kind: String
        switch info.verb {
        case "create": kind = "CreateOptions"
        case "update": kind = "UpdateOptions"
        case "patch": kind = "PatchOptions"
        case "delete", "deletecollection": kind = "DeleteOptions"
        default: return
        }
        let problems = WriteOptions.problems(request)
        if !problems.isEmpty { throw .invalid(("meta.k8s.io", kind), name: "", problems) }
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
