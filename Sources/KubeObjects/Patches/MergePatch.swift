// SPDX-License-Identifier: Apache-2.0

public import Values

/// JSON Merge Patch (RFC 7386).
public enum MergePatch {
    /// Members of the patch replace those of the target; null removes.
    public static func apply(_ patch: JSON, to target: JSON) -> JSON {
        guard case .object(let changes) = patch else { return patch }
        var result = target.object ?? JSONObject()
        var removed = Set<String>()
        for (key, change) in changes {
            if change.isNull {
                removed.insert(key)
            } else {
                result[key] = apply(change, to: result[key] ?? .null)
            }
        }
        // All at once: one by one, a long list of nulls would take for ever on a large object.
        if !removed.isEmpty { result.removeAll { removed.contains($0.key) } }
        return .object(result)
    }
}
