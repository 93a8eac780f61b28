// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// In what form objects are answered, as the Accept header asks.
enum OutputForm: Sendable, Equatable {
    case object
    case table(version: String, includeObject: String)
    case partialMetadata
}

/// The answer to an Accept header.
struct Negotiated: Sendable, Equatable {
    var form: OutputForm
    var encoding: OutputEncoding
}

/// What can be answered to a request.
struct AcceptableForms: Sendable {
    /// Tables and metadata alone; what is answered on the spot has neither.
    var hasViews = true
    /// Custom resources have no messages.
    var hasProtobuf = true
    /// A watch: there are no streams of YAML.
    var isStream = false

    /// For a client that accepts none of it.
    var refusal: StatusError {
        var types: [OutputEncoding] = [.json, .yaml, .protobuf]
        if isStream { types.removeAll { $0 == .yaml } }
        let names = types.map { $0.rawValue + (isStream ? ";stream=watch" : "") }
        return .notAcceptable("only the following media types are accepted: \(names.joined(separator: ", "))")
    }
}

/// A media type with its parameters.
struct MediaType: Sendable, Equatable {
    var type: String
    var parameters: [String: String]

    init(_ text: some StringProtocol) {
        let parts = text.split(separator: ";").map { $0.trimmingSpaces() }
        type = parts.first.map { $0.lowercased() } ?? ""
        parameters = [:]
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { continue }
            var value = pair[1].trimmingSpaces()
            if value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") {
                value = String(value.dropFirst().dropLast())
            }
            parameters[pair[0].trimmingSpaces().lowercased()] = value
        }
    }

    /// What the client would rather have: 0 to 1, and 1 where nothing is said (RFC 9110, section 12.4.2).
    private var quality: Double {
        parameters["q"].flatMap { Double($0) }.flatMap { (0...1).contains($0) ? $0 : nil } ?? 1
    }

    /// How much is left open: `*/*`, `application/*`, `application/json`.
    private var wildcards: Int { type.hasPrefix("*/") ? 2 : type.hasSuffix("/*") ? 1 : 0 }

    /// The types of an Accept header: what is wanted most comes first, then what is named exactly, then as they stand.
    static func list(_ header: String?) -> [MediaType] {
        (header ?? "").split(separator: ",").map { MediaType($0) }.filter { !$0.type.isEmpty }.enumerated().sorted {
            ($1.element.quality, $0.element.wildcards, $0.offset) < (
                $0.element.quality, $1.element.wildcards, $1.offset
            )
        }.map(\.element)
    }

    fileprivate func matches(_ encoding: OutputEncoding) -> Bool {
        type == encoding.rawValue || type == "application/*" || type == "*/*"
    }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var text = Substring(self)
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}

extension Negotiated {
    /// Nil when the client accepts nothing that the server can write.
    init?(_ request: IncomingRequest, _ forms: AcceptableForms = AcceptableForms()) {
        let accepted = MediaType.list(request.header("accept"))
        guard !accepted.isEmpty else {
            self.init(form: .object, encoding: .json)
            return
        }
        for media in accepted {
            for encoding in [OutputEncoding.json, .yaml, .protobuf] where media.matches(encoding) {
                guard let form = Self.form(media, encoding, request, forms) else { continue }
                self.init(form: form, encoding: encoding)
                return
            }
        }
        return nil
    }

    /// Nil for what cannot be written so: Table has no message, a stream no YAML.
    private static func form(
        _ media: MediaType, _ encoding: OutputEncoding, _ request: IncomingRequest, _ forms: AcceptableForms
    ) -> OutputForm? {
        if encoding == .yaml, forms.isStream { return nil }
        if let stream = media.parameters["stream"], stream != "watch" || encoding == .yaml { return nil }
        guard let view = media.parameters["as"] else {
            return encoding == .protobuf && !forms.hasProtobuf ? nil : .object
        }
        guard forms.hasViews, media.parameters["g"] == "meta.k8s.io", let version = media.parameters["v"] else {
            return nil
        }
        switch (view, version) {
        case ("Table", "v1"), ("Table", "v1beta1"):
            if encoding == .protobuf { return nil }
            return .table(version: version, includeObject: request.query("includeObject") ?? "Metadata")
        case ("PartialObjectMetadata", "v1"), ("PartialObjectMetadataList", "v1"): return .partialMetadata
        default: return nil
        }
    }
}
