// SPDX-License-Identifier: Apache-2.0

/// In what form objects are answered, as the Accept header asks.
enum OutputForm: Sendable, Equatable {
    case object
    case table(version: String, includeObject: String)
    case partialMetadata
}

/// The answer to an Accept header.
struct Negotiated: Sendable, Equatable {
    var form: OutputForm
    var yaml: Bool
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

    /// The types of an Accept header in the order in which they stand.
    static func list(_ header: String?) -> [MediaType] {
        (header ?? "").split(separator: ",").map { MediaType($0) }.filter { !$0.type.isEmpty }
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
    ///
    /// - Parameter hasViews: whether there are tables and metadata alone; what is answered on the spot has neither.
    init?(_ request: IncomingRequest, hasViews: Bool = true) {
        let accepted = MediaType.list(request.header("accept"))
        guard !accepted.isEmpty else {
            self.init(form: .object, yaml: false)
            return
        }
        for media in accepted {
            let yaml = media.type == "application/yaml"
            guard yaml || ["application/json", "application/*", "*/*"].contains(media.type) else { continue }
            switch media.parameters["as"] {
            case nil:
                self.init(form: .object, yaml: yaml)
                return
            case "Table":
                guard hasViews, media.parameters["g"] == "meta.k8s.io", let version = media.parameters["v"],
                    version == "v1" || version == "v1beta1"
                else { continue }
                self.init(
                    form: .table(version: version, includeObject: request.query("includeObject") ?? "Metadata"),
                    yaml: yaml)
                return
            case "PartialObjectMetadata", "PartialObjectMetadataList":
                guard hasViews, media.parameters["g"] == "meta.k8s.io", media.parameters["v"] == "v1" else {
                    continue
                }
                self.init(form: .partialMetadata, yaml: yaml)
                return
            default: continue
            }
        }
        return nil
    }
}
