// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// The parameters that all writes have: `dryRun`, `fieldManager` and `fieldValidation`.
enum WriteOptions {
    /// Bytes of a manager's name.
    static let maximumManager = 128

    /// In the order and the words of Kubernetes' validation of CreateOptions and its kin.
    static func problems(_ request: IncomingRequest) -> [FieldError] {
        let manager = request.query("fieldManager") ?? ""
        var problems: [FieldError] = []
        if manager.utf8.count > maximumManager {
            problems.append(
                FieldError(.tooLong, "fieldManager", detail: "may not be more than \(maximumManager) bytes"))
        }
        var offset = 0
        for scalar in manager.unicodeScalars {
            if !isPrintable(scalar) {
                problems.append(
                    .invalid(
                        "fieldManager", JSON(manager), "invalid character \(name(scalar)) (at position \(offset))"))
            }
            offset += UTF8.width(scalar)
        }
        problems += dryRunProblems(request.queryValues("dryRun"))
        if let text = request.query("fieldValidation"), !text.isEmpty,
            RequestContext.FieldValidation(rawValue: text) == nil
        {
            problems.append(.notSupported("fieldValidation", JSON(text), ["Ignore", "Strict", "Warn"]))
        }
        return problems
    }

    /// All values must be `All`.
    static func dryRunProblems(_ values: [String]) -> [FieldError] {
        values.contains { $0 != "All" } ? [.notSupported("dryRun", JSON(values), ["All"])] : []
    }

    /// The name of a manager that gives none: its user agent up to the first `/`.
    static func manager(ofUserAgent agent: String) -> String {
        var name = ""
        var size = 0
        for scalar in agent.unicodeScalars.prefix(while: { $0 != "/" }) where isPrintable(scalar) {
            size += UTF8.width(scalar)
            guard size <= maximumManager else { break }
            name.unicodeScalars.append(scalar)
        }
        return name.isEmpty ? "unknown" : name
    }

    /// As Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and of spaces the ASCII one alone.
    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: scalar == " "
        default: true
        }
    }

    /// `U+000A`, as Go names what cannot be shown.
    private static func name(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
