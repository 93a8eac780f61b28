// SPDX-License-Identifier: Apache-2.0

public import Values

/// JSON Merge Patch (RFC 7386).
public enum MergePatch {
    /// Members of the patch replace those of the target; null removes.
    public static func apply(_ patch: JSON, to target: JSON) -> JSON {
        guard case .object(let changes) = patch else { return patch }
        var result = target.object ?? JSONObject()
        for (key, change) in changes {
            if change.isNull {
                result.removeValue(forKey: key)
            } else {
                result[key] = apply(change, to: result[key] ?? .null)
            }
        }
        return .object(result)
    }
}
