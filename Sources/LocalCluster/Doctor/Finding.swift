// SPDX-License-Identifier: Apache-2.0

public import Values

/// One thing that is wrong.
public struct Finding: Sendable, Hashable {
    /// `service default/web`
    public let object: String
    public let problem: String
    public let cause: String
    /// A command to type, or a thing to change.
    public let nextStep: String

    public init(object: String, problem: String, cause: String, nextStep: String) {
        self.object = object
        self.problem = problem
        self.cause = cause
        self.nextStep = nextStep
    }

    public var json: JSON {
        ["object": JSON(object), "problem": JSON(problem), "cause": JSON(cause), "nextStep": JSON(nextStep)]
    }
}

/// Where labels nearest to wanted ones are looked for.
public enum NearestLabels {
    /// The label among `candidates` that differs least from `key=value`, with how often it stands.
    ///
    /// - Returns: nil when none is near enough to be a slip of the pen: more than half of its letters differ.
    public static func nearest(to key: String, _ value: String, among candidates: [[String: String]]) -> (String, Int)?
    {
        var counts: [String: Int] = [:]
        for labels in candidates { for (name, text) in labels { counts["\(name)=\(text)", default: 0] += 1 } }
        let wanted = "\(key)=\(value)"
        let ranked = counts.keys.map { ($0, distance($0, wanted)) }.sorted { ($0.1, $0.0) < ($1.1, $1.0) }
        guard let best = ranked.first, best.1 * 2 <= wanted.count else { return nil }
        return (best.0, counts[best.0] ?? 0)
    }

    /// Levenshtein's distance: how many letters must be put in, taken out or changed.
    public static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let above = row[column + 1]
                row[column + 1] = min(above + 1, row[column] + 1, diagonal + (right[column] == letter ? 0 : 1))
                diagonal = above
            }
        }
        return row[right.count]
    }
}
