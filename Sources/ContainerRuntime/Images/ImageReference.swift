// SPDX-License-Identifier: Apache-2.0

/// The name of an image, as pods and users write it, made complete.
///
/// `busybox` is `docker.io/library/busybox:latest`; `localhost:5000/a/b@sha256:…` stays what it is.
public struct ImageReference: Sendable, Hashable, CustomStringConvertible {
    /// `docker.io`, `quay.io`, `localhost:5000`.
    public let domain: String
    /// `library/busybox`.
    public let path: String
    /// Nil when a digest alone was given.
    public let tag: String?
    /// `sha256:` and 64 hexadecimal digits.
    public let digest: String?

    public init(domain: String, path: String, tag: String?, digest: String? = nil) {
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    /// `docker.io/library/busybox`.
    public var repository: String { "\(domain)/\(path)" }

    /// Complete: with domain and tag or digest.
    public var description: String {
        repository + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    /// What a registry's API wants to hear: the digest, when there is one.
    public var identifier: String { digest ?? tag ?? "latest" }

    /// Where the registry listens. Docker Hub's is elsewhere than its name says.
    public var registryHost: String { domain == "docker.io" ? "registry-1.docker.io" : domain }

    /// Reads a name by the grammar of the distribution project.
    public init(_ text: String) throws(ImageError) {
        func invalid(_ why: String) -> ImageError {
            ImageError(
                .invalidName,
                "couldn't parse image name \"\(text)\": invalid reference format: \(why); the form is [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]"
            )
        }
        guard !text.isEmpty else { throw invalid("it is empty") }
        guard text.utf8.count <= 4096 else { throw invalid("it is longer than 4096 bytes") }
        var rest = Substring(text)
        var digest: String?
        if let at = rest.firstIndex(of: "@") {
            let value = String(rest[rest.index(after: at)...])
            guard Digest.isValid(value) else {
                throw invalid("\"\(value)\" is not a digest: sha256: and 64 lower-case hexadecimal digits")
            }
            digest = value
            rest = rest[..<at]
        }
        var tag: String?
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("/") {
            let value = String(rest[rest.index(after: colon)...])
            guard Self.isTag(value) else {
                throw invalid(
                    "\"\(value)\" is not a tag: up to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'"
                )
            }
            tag = value
            rest = rest[..<colon]
        }
        var domain = "docker.io"
        var path = String(rest)
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if first == "localhost" || first.contains(".") || first.contains(":") || first != first.lowercased() {
                domain = String(first)
                path = String(rest[rest.index(after: slash)...])
                guard Self.isDomain(domain) else { throw invalid("\"\(domain)\" is not a registry's host") }
            }
        }
        if domain == "index.docker.io" { domain = "docker.io" }
        guard path == path.lowercased() else { throw invalid("repository name must be lowercase, \"\(path)\" is not") }
        guard !path.isEmpty else { throw invalid("the repository's name is missing") }
        for part in path.split(separator: "/", omittingEmptySubsequences: false) where !Self.isPathComponent(part) {
            throw invalid("\"\(part)\" is not a part of a repository's name")
        }
        if domain == "docker.io", !path.contains("/") { path = "library/" + path }
        guard domain.utf8.count + path.utf8.count < 255 else { throw invalid("the name is longer than 255 bytes") }
        self.init(domain: domain, path: path, tag: tag ?? (digest == nil ? "latest" : nil), digest: digest)
    }

    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLowerOrDigit(byte) || (0x41...0x5A).contains(byte)
    }

    static func isTag(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, bytes.count <= 128, isAlphanumeric(first) || first == UInt8(ascii: "_") else {
            return false
        }
        return bytes.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
        }
    }

    /// Letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
    private static func isPathComponent(_ text: Substring) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last, isLowerOrDigit(first), isLowerOrDigit(last) else {
            return false
        }
        var index = 0
        while index < bytes.count {
            if isLowerOrDigit(bytes[index]) {
                index += 1
                continue
            }
            let start = index
            while index < bytes.count, !isLowerOrDigit(bytes[index]) { index += 1 }
            let separator = String(decoding: bytes[start..<index], as: UTF8.self)
            guard separator == "." || separator == "_" || separator == "__" || separator.allSatisfy({ $0 == "-" })
            else { return false }
        }
        return true
    }

    static func isDomain(_ text: String) -> Bool {
        var host = Substring(text)
        if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
            let port = host[host.index(after: colon)...]
            guard let number = UInt16(port), number > 0 else { return false }
            host = host[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            return host.dropFirst().dropLast().utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: ":") }
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }
}
