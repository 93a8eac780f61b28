// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for what a Job makes of pods that fail, and for when it has had enough.
enum JobPolicyRules {
    private static let mostRules = 20
    private static let mostCodes = 255
    private static let mostIndexesLength = 65_536

    static func failure(_ inspection: inout Inspection, _ spec: JSON, at job: String) {
        guard let policy = spec["podFailurePolicy"] else { return }
        let path = "\(job).podFailurePolicy.rules"
        if let restart = spec["template"]["spec"]["restartPolicy"], restart != "Never" {
            inspection.report(
                .invalid(
                    "\(job).template.spec.restartPolicy", restart,
                    "only \"Never\" is supported when podFailurePolicy is specified"))
        }
        guard inspection.atMost(elements: mostRules, policy["rules"], path) else { return }
        let names = ["containers", "initContainers"].flatMap { list in
            (spec["template"]["spec"][list].array ?? []).compactMap { $0["name"].string }
        }
        inspection.each(policy["rules"], path) { inspection, rule, place in
            choose(&inspection, rule["action"], "\(place).action", ["Count", "FailIndex", "FailJob", "Ignore"])
            if rule["action"].string == "FailIndex", spec["backoffLimitPerIndex"] == nil {
                inspection.report(
                    .invalid("\(place).action", "FailIndex", "requires the backoffLimitPerIndex to be set"))
            }
            let codes = rule["onExitCodes"]
            let conditions = rule["onPodConditions"].array ?? []
            if codes != nil {
                self.codes(&inspection, codes, at: "\(place).onExitCodes", containers: names)
            }
            self.conditions(&inspection, rule["onPodConditions"], at: "\(place).onPodConditions")
            if codes != nil, !conditions.isEmpty {
                inspection.report(
                    .invalid(place, "", "specifying both OnExitCodes and OnPodConditions is not supported"))
            } else if codes == nil, conditions.isEmpty {
                inspection.report(
                    .invalid(place, "", "specifying one of OnExitCodes and OnPodConditions is required"))
            }
        }
    }

    private static func choose(_ inspection: inout Inspection, _ value: JSON?, _ field: String, _ choices: [String]) {
        if (value.string ?? "").isEmpty {
            inspection.report(.required(field, "valid values: \(JSON(choices).text())"))
        } else {
            inspection.oneOf(value, field, choices)
        }
    }

    private static func codes(
        _ inspection: inout Inspection, _ codes: JSON?, at path: String, containers: [String]
    ) {
        choose(&inspection, codes["operator"], "\(path).operator", ["In", "NotIn"])
        if let name = codes["containerName"].string, !containers.contains(name) {
            inspection.report(
                .invalid(
                    "\(path).containerName", JSON(name),
                    "must be one of the container or initContainer names in the pod template"))
        }
        let values = codes["values"].array ?? []
        if values.isEmpty {
            inspection.report(.invalid("\(path).values", .array([]), "at least one value is required"))
        }
        guard inspection.atMost(elements: mostCodes, codes["values"], "\(path).values") else { return }
        var isOrdered = true
        var seen = Set<Int>()
        for (index, value) in values.enumerated() {
            let number = value.int ?? 0
            if number == 0, codes["operator"].string == "In" {
                inspection.report(
                    .invalid("\(path).values[\(index)]", value, "must not be 0 for the In operator"))
            }
            if !seen.insert(number).inserted { inspection.report(.duplicate("\(path).values[\(index)]", value)) }
            if index > 0, number < values[index - 1].int ?? 0 { isOrdered = false }
        }
        if !isOrdered { inspection.report(.invalid("\(path).values", .array(values), "must be ordered")) }
    }

    private static func conditions(_ inspection: inout Inspection, _ conditions: JSON?, at path: String) {
        guard inspection.atMost(elements: mostRules, conditions, path) else { return }
        inspection.each(conditions, path) { inspection, condition, place in
            let type = condition["type"].string ?? ""
            inspection.invalid("\(place).type", JSON(type), Names.qualifiedNameProblems(type))
            choose(&inspection, condition["status"], "\(place).status", ["False", "True", "Unknown"])
        }
    }

    static func success(_ inspection: inout Inspection, _ spec: JSON, at job: String) {
        guard let policy = spec["successPolicy"] else { return }
        let path = "\(job).successPolicy"
        if spec["completionMode"].string != "Indexed" {
            inspection.report(.invalid(path, policy, "requires indexed completion mode"))
        }
        if (policy["rules"].array ?? []).isEmpty {
            inspection.report(
                .required("\(path).rules", "at least one rules must be specified when the successPolicy is specified"))
        }
        inspection.atMost(elements: mostRules, policy["rules"], "\(path).rules")
        let completions = spec["completions"].int ?? 0
        inspection.each(policy["rules"], "\(path).rules") { inspection, rule, place in
            if rule["succeededCount"] == nil, rule["succeededIndexes"] == nil {
                inspection.report(
                    .required(place, "at least one of succeededCount or succeededIndexes must be specified"))
            }
            var most = completions
            if let text = rule["succeededIndexes"].string {
                inspection.atMost(mostIndexesLength, rule["succeededIndexes"], "\(place).succeededIndexes")
                switch IndexRanges.count(text, below: completions) {
                case .success(let count): most = count
                case .failure(let problem):
                    inspection.report(
                        .invalid(
                            "\(place).succeededIndexes", JSON(text),
                            "error parsing succeededIndexes: \(problem.description)"))
                }
            }
            inspection.notNegative(rule["succeededCount"], "\(place).succeededCount")
            guard let count = rule["succeededCount"].int, count > most else { return }
            let detail =
                rule["succeededIndexes"] == nil
                ? "must be less than or equal to \(completions) (the number of specified completions)"
                : "must be less than or equal to \(most) (the number of indexes in the specified succeededIndexes field)"
            inspection.report(.invalid("\(place).succeededCount", JSON(count), detail))
        }
    }
}

/// Indexes of a Job's pods as text: `0,3-5,7`.
enum IndexRanges {
    struct Problem: Error, CustomStringConvertible { let description: String }

    /// How many indexes the text names; they must rise, and stay below `limit`.
    static func count(_ text: String, below limit: Int) -> Result<Int, Problem> {
        var last = -1
        var count = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
            guard (1...2).contains(ends.count) else {
                return problem(
                    "the fragment \"\(part)\" violates the requirement that an index interval can have at most two parts separated by '-'"
                )
            }
            guard let first = index(ends[0]), let end = index(ends[ends.count - 1]) else {
                return problem("cannot convert string to integer for index: \"\(part)\"")
            }
            if end >= limit || first >= limit { return problem("too large index: \"\(part)\"") }
            if first <= last {
                return problem("non-increasing order, previous: \(last), current: \(first)")
            }
            if ends.count == 2, end <= first {
                return problem("non-increasing order, previous: \(first), current: \(end)")
            }
            count += end - first + 1
            last = end
        }
        return .success(count)
    }

    private static func problem(_ text: String) -> Result<Int, Problem> { .failure(Problem(description: text)) }

    /// Digits that fit 32 bits.
    private static func index(_ text: String) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy(Names.isDigit) else { return nil }
        return Int32(text).map { Int($0) }
    }
}
