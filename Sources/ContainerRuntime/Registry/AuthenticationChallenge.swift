// SPDX-License-Identifier: Apache-2.0

/// What a registry answers in WWW-Authenticate.
package struct AuthenticationChallenge: Sendable, Hashable {
    /// In lower case: `bearer` or `basic`.
    package var scheme: String
    package var parameters: [String: String]

    /// The challenges of one header's value; parameters may be quoted.
    package static func parse(_ header: String) -> [AuthenticationChallenge] {
        var result: [AuthenticationChallenge] = []
        let characters = Array(header)
        var index = 0
        func skip(_ set: Set<Character>) {
            while index < characters.count, set.contains(characters[index]) { index += 1 }
        }
        func word() -> String {
            let start = index
            while index < characters.count, !" \t,=\"".contains(characters[index]) { index += 1 }
            return String(characters[start..<index])
        }
        while index < characters.count {
            skip([" ", "\t", ","])
            let name = word()
            if name.isEmpty {
                index += 1
                continue
            }
            let afterName = index
            skip([" ", "\t"])
            if index < characters.count, characters[index] == "=", !result.isEmpty {
                index += 1
                skip([" ", "\t"])
                var value = ""
                if index < characters.count, characters[index] == "\"" {
                    index += 1
                    while index < characters.count, characters[index] != "\"" {
                        if characters[index] == "\\", index + 1 < characters.count { index += 1 }
                        value.append(characters[index])
                        index += 1
                    }
                    index += 1
                } else {
                    value = word()
                }
                result[result.count - 1].parameters[name.lowercased()] = value
            } else {
                index = afterName
                result.append(AuthenticationChallenge(scheme: name.lowercased(), parameters: [:]))
            }
        }
        return result
    }
}
