// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Linux
import LocalCluster

/// A row of the table in docs/doctor.md, which is also the list of what is tested.
struct FaultRow {
    let fault: String
    let reason: String
    /// With … for what is different each time.
    let cause: String
    let nextStep: String

    /// The table of the page, in its order. `demo`, the page's cluster, is the cluster of the test.
    static func table(profile: String) throws -> [FaultRow] {
        let parts = #filePath.split(separator: "/").dropLast(4)
        let text = try Files.text("/" + parts.joined(separator: "/") + "/docs/doctor.md")
        return text.split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|").map { trimmed($0) }
            guard line.hasPrefix("|"), cells.count == 4, cells[1].hasPrefix("`") else { return nil }
            return FaultRow(
                fault: cells[0], reason: code(cells[1]), cause: code(cells[2]).replacing("demo", with: profile),
                nextStep: code(cells[3]).replacing("demo", with: profile))
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// What stands between backticks, of which there are two on each side when it holds one itself.
    private static func code(_ cell: String) -> String {
        cell.hasPrefix("`` ") ? String(cell.dropFirst(3).dropLast(3)) : String(cell.dropFirst().dropLast())
    }

    /// What of the row the finding does not say; empty when it says all.
    func differences(from finding: Finding) -> [String] {
        var result: [String] = []
        if finding.reason != reason { result.append("reason \(finding.reason), not \(reason)") }
        if !Self.matches(finding.cause, cause) { result.append("cause \(finding.cause), not \(cause)") }
        if !Self.matches(finding.nextStep, nextStep) { result.append("next \(finding.nextStep), not \(nextStep)") }
        return result
    }

    /// Whether the text is the pattern, with anything in the place of each ….
    static func matches(_ text: String, _ pattern: String) -> Bool {
        let parts = pattern.split(separator: "…", omittingEmptySubsequences: false)
        guard let first = parts.first, let last = parts.last, parts.count > 1 else { return text == pattern }
        guard text.hasPrefix(first), text.hasSuffix(last), text.count >= first.count + last.count else { return false }
        var rest = text.dropFirst(first.count).dropLast(last.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        return true
    }
}

/// How what `doctor` says to do next is tried.
enum Trial {
    /// It is typed, and the finding goes away.
    case cures
    /// It is typed, and prints this.
    case prints(String)
    /// It needs something that only the user has: a file, another image, a decision.
    case none
}

/// Something that is put out of order.
struct Fault {
    /// As in the first column of the table.
    let name: String
    /// What the finding is about, as `doctor` names it.
    let object: String
    /// What makes it, as manifests.
    let manifests: String
    let trial: Trial

    init(_ name: String, _ object: String, _ trial: Trial, _ manifests: String = "") {
        self.name = name
        self.object = object
        self.trial = trial
        self.manifests = manifests
    }
}
