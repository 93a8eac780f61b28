// SPDX-License-Identifier: Apache-2.0

/// The syntaxes of names, labels and ports, each as what is wrong with a text in Kubernetes' words; empty when nothing.
public enum Names {
    private static let label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    private static let labelProblem =
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        + "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '\(label)')"
    private static let subdomainProblem =
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        + "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        + "'\(label)(\\.\(label))*')"
    private static let label1035Problem =
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        + "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        + "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    private static let qualifiedProblem =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        + "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        + "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    private static let labelValueProblem =
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        + "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        + "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    private static let configKeyProblem =
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        + "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    private static let underscoreProblem =
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        + "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        + "'[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*')"
    private static let headerProblem =
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
        + "validation is '[-A-Za-z0-9]+')"
    private static let pathProblem =
        "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
    private static let environmentProblem =
        "a valid environment variable name must consist only of printable ASCII characters other than '='"

    private static func tooLong(_ most: Int) -> String { "must be no more than \(most) characters" }

    static func isLower(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
    static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isLowerOrDigit(_ byte: UInt8) -> Bool { isLower(byte) || isDigit(byte) }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLower(byte | 0x20) && byte >= 0x41 || isDigit(byte) }

    private static func isLabel(_ text: some Collection<UInt8>) -> Bool {
        let bytes = Array(text)
        guard let first = bytes.first, let last = bytes.last, isLowerOrDigit(first), isLowerOrDigit(last) else {
            return false
        }
        return bytes.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isNamePart(_ text: some Collection<UInt8>) -> Bool {
        let bytes = Array(text)
        guard let first = bytes.first, let last = bytes.last, isAlphanumeric(first), isAlphanumeric(last) else {
            return false
        }
        return bytes.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
    }

    public static func labelProblems(_ text: String) -> [String] {
        (text.utf8.count > 63 ? [tooLong(63)] : []) + (isLabel(text.utf8) ? [] : [labelProblem])
    }

    public static func subdomainProblems(_ text: String) -> [String] {
        let good = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy {
            isLabel($0)
        }
        return (text.utf8.count > 253 ? [tooLong(253)] : []) + (good ? [] : [subdomainProblem])
    }

    /// A subdomain as resolvers know it, with underscores within its labels.
    public static func underscoreSubdomainProblems(_ text: String) -> [String] {
        let good = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy {
            guard let first = $0.first, let last = $0.last, isLowerOrDigit(last) else { return false }
            return (isLowerOrDigit(first) || first == UInt8(ascii: "_"))
                && $0.allSatisfy { isLowerOrDigit($0) || "-_".utf8.contains($0) }
        }
        return (text.utf8.count > 253 ? [tooLong(253)] : []) + (good ? [] : [underscoreProblem])
    }

    /// The name of a header of HTTP.
    public static func headerNameProblems(_ text: String) -> [String] {
        let good = !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        return good ? [] : [headerProblem]
    }

    /// A domain of at least two labels: `example.com`.
    public static func qualifiedDomainProblems(_ text: String) -> [String] {
        let problems = subdomainProblems(text.hasSuffix(".") ? String(text.dropLast()) : text)
        if !problems.isEmpty { return problems }
        return text.split(separator: ".").count < 2
            ? ["should be a domain with at least two segments separated by dots"] : []
    }

    /// The name of a webhook: at least three labels.
    public static func hookNameProblems(_ text: String) -> [String] {
        let problems = subdomainProblems(text)
        if !problems.isEmpty { return problems }
        let count = text.split(separator: ".").count
        return count < 3 ? ["should be a domain with at least three segments separated by dots"] : []
    }

    /// A domain, a slash and a path: `example.com/controller`.
    public static func domainPathProblems(_ text: String) -> [String] {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            return ["must be a domain-prefixed path (such as \"acme.io/foo\")"]
        }
        let isPath = parts[1].utf8.allSatisfy { isAlphanumeric($0) || "-._~!$&'()*+,;=:/".utf8.contains($0) }
        return subdomainProblems(String(parts[0])) + (isPath ? [] : [pathProblem])
    }

    /// The old, stricter syntax, which names of Services have.
    public static func label1035Problems(_ text: String) -> [String] {
        let good = isLabel(text.utf8) && text.utf8.first.map(isLower) ?? false
        return (text.utf8.count > 63 ? [tooLong(63)] : []) + (good ? [] : [label1035Problem])
    }

    /// The first label may be `*`.
    public static func wildcardProblems(_ text: String) -> [String] {
        guard text.hasPrefix("*.") else {
            return [
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                    + "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
            ]
        }
        return subdomainProblems(String(text.dropFirst(2)))
    }

    /// A path segment: what names of RBAC objects may be.
    public static func pathSegmentProblems(_ text: String) -> [String] {
        if text == "." || text == ".." { return ["may not be '\(text)'"] }
        return ["/", "%"].filter { text.contains($0) }.map { "may not contain '\($0)'" }
    }

    /// A label's or annotation's key: an optional DNS subdomain and a slash, then a name.
    public static func qualifiedNameProblems(_ text: String) -> [String] {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        var problems: [String] = []
        let name: Substring
        switch parts.count {
        case 1: name = parts[0]
        case 2:
            name = parts[1]
            if parts[0].isEmpty {
                problems.append("prefix part must be non-empty")
            } else {
                problems += subdomainProblems(String(parts[0])).map { "prefix part \($0)" }
            }
        default:
            return [
                "a qualified name \(qualifiedProblem.dropFirst("name part ".count)) with an optional DNS subdomain "
                    + "prefix and '/' (e.g. 'example.com/MyName')"
            ]
        }
        if name.isEmpty {
            problems.append("name part must be non-empty")
        } else if name.utf8.count > 63 {
            problems.append("name part \(tooLong(63))")
        }
        if !isNamePart(name.utf8) { problems.append(qualifiedProblem) }
        return problems
    }

    public static func labelValueProblems(_ text: String) -> [String] {
        (text.utf8.count > 63 ? [tooLong(63)] : [])
            + (text.isEmpty || isNamePart(text.utf8) ? [] : [labelValueProblem])
    }

    /// A key of a ConfigMap or Secret.
    public static func configKeyProblems(_ text: String) -> [String] {
        if text == "." || text == ".." { return ["must not be '\(text)'"] }
        if text.hasPrefix("..") { return ["must not start with '..'"] }
        let good = !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
        return (text.utf8.count > 253 ? [tooLong(253)] : []) + (good ? [] : [configKeyProblem])
    }

    public static func environmentNameProblems(_ text: String) -> [String] {
        let good = !text.isEmpty && text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "=") }
        return good ? [] : [environmentProblem]
    }

    /// The name of a container's port (RFC 6335).
    public static func portNameProblems(_ text: String) -> [String] {
        var problems: [String] = []
        let bytes = Array(text.utf8)
        if bytes.count > 15 { problems.append("must be no more than 15 characters") }
        if !bytes.allSatisfy({ isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }) {
            problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
        }
        if !bytes.contains(where: isLower) { problems.append("must contain at least one letter (a-z)") }
        if text.contains("--") { problems.append("must not contain consecutive hyphens") }
        if bytes.first == UInt8(ascii: "-") || bytes.last == UInt8(ascii: "-") {
            problems.append("must not begin or end with a hyphen")
        }
        return problems
    }

    public static func portProblems(_ port: Int) -> [String] {
        (1...65535).contains(port) ? [] : ["must be between 1 and 65535, inclusive"]
    }
}
