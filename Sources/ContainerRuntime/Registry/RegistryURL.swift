// SPDX-License-Identifier: Apache-2.0

/// An address that a registry is asked at, or sends to.
struct RegistryURL: Sendable, Hashable {
    /// `http` or `https`.
    var scheme: String
    /// `HOST[:PORT]`.
    var authority: String
    /// With its slash, and with the query.
    var path: String

    var text: String { "\(scheme)://\(authority)\(path)" }

    init(_ text: String, image: String) throws(ImageError) {
        guard let range = text.firstRange(of: "://"),
            case let scheme = text[..<range.lowerBound].lowercased(), scheme == "http" || scheme == "https"
        else { throw Self.senseless(text, image) }
        let rest = text[range.upperBound...].prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        // What stands before an @ would be sent to whom it does not concern.
        guard !authority.isEmpty, !authority.contains("@"), !authority.contains(" ") else {
            throw Self.senseless(text, image)
        }
        self.scheme = scheme
        self.authority = String(authority)
        let path = rest.dropFirst(authority.count)
        self.path = path.hasPrefix("/") ? String(path) : "/" + path
    }

    /// What a `Location` means in an answer from here.
    func resolving(_ location: String, image: String) throws(ImageError) -> RegistryURL {
        if location.contains("://"), !location.hasPrefix("/") { return try RegistryURL(location, image: image) }
        if location.hasPrefix("//") { return try RegistryURL("\(scheme):\(location)", image: image) }
        if location.hasPrefix("/") { return try RegistryURL("\(scheme)://\(authority)\(location)", image: image) }
        let path = path.prefix { $0 != "?" }
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? "/"
        return try RegistryURL("\(scheme)://\(authority)\(folder)\(location)", image: image)
    }

    private static func senseless(_ text: String, _ image: String) -> ImageError {
        ImageError(.other, "pulling image \"\(image)\": \"\(text.prefix(200))\" is not an address of a registry")
    }
}
