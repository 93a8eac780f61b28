// SPDX-License-Identifier: Apache-2.0

extension Bool {
    /// A boolean of a URL's query, as the Kubernetes API reads it: whatever is there means yes, an empty value too, but
    /// for what says no (`0`, `f`, and `false` in any case). Every server of the cluster reads flags by this.
    public init(queryValue text: String) {
        switch text.lowercased() {
        case "0", "f", "false": self = false
        default: self = true
        }
    }
}
