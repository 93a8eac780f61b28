// SPDX-License-Identifier: Apache-2.0

/// Where labels nearest to wanted ones are looked for.
public enum NearestLabels {
    /// The `key=value` among `candidates` that is nearest to the wanted one; of several as near, the first by name.
    ///
    /// A slip of the pen (less than half of the letters differ), the same key with a value that has a word more or
    /// less, or another key with the same value count as near.
    public static func nearest(
        to key: String, _ value: String, among candidates: some Sequence<(key: String, value: String)>
    ) -> (key: String, value: String)? {
        let wanted = "\(key)=\(value)"
        var best: (distance: Int, text: String, label: (key: String, value: String))?
        for candidate in candidates {
            let text = "\(candidate.key)=\(candidate.value)"
            // Letters that differ cannot be fewer than what the lengths differ by.
            let difference = distance(text, wanted)
            let isNear =
                difference * 2 <= wanted.count || (candidate.key == key && shareWords(candidate.value, value))
                || (candidate.value == value && !value.isEmpty)
            guard isNear else { continue }
            if let best, (best.distance, best.text) <= (difference, text) { continue }
            best = (difference, text, candidate)
        }
        return best?.label
    }

    /// Whether one value is the other with words more: `app` and `app-deployment`.
    private static func shareWords(_ left: String, _ right: String) -> Bool {
        let (left, right) = (words(left), words(right))
        guard !left.isEmpty, !right.isEmpty else { return false }
        return left.isSubset(of: right) || right.isSubset(of: left)
    }

    private static func words(_ text: String) -> Set<String> {
        Set(text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init))
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

    /// The name among `candidates` that was probably meant; nil when none is near.
    static func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
        nearest(to: "", name, among: candidates.map { ("", $0) })?.value
    }
}
