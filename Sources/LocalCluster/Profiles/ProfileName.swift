// SPDX-License-Identifier: Apache-2.0

/// The name of a profile. A value of this type is a name that has been checked: paths, control groups, tables and links
/// are made of it, and removed by it, as root.
public struct ProfileName: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let text: String

    /// - Parameter origin: who says so, where it is not the command line: for the message.
    /// - Throws: `LocalClusterError` that tells what a name is.
    public init(_ text: String, from origin: String? = nil) throws(LocalClusterError) {
        guard Self.isLabel(text, length: 2...40), !Self.reserved.contains(text) else {
            let said = origin.map { " (\($0))" } ?? ""
            let reason = Self.reserved.contains(text) ? "it is the name of one of Catbird's own files, and " : ""
            throw LocalClusterError(
                .usage, "\"\(text)\"\(said) cannot name a profile: \(reason)a name is \(Self.pattern).",
                nextStep: "To see the profiles there are: catbird profile list")
        }
        self.text = text
    }

    private init(unchecked text: String) { self.text = text }

    /// What is meant where no profile is named.
    public static let catbird = ProfileName(unchecked: "catbird")
    /// The same, where the program is called by minikube's name.
    public static let minikube = ProfileName(unchecked: "minikube")

    static let pattern = "two to 40 lower-case letters, digits and dashes, a letter or digit at both ends"
    /// What else lies in the folders that have a folder for each profile.
    static let reserved: Set<String> = ["images", "active-profile"]

    /// A label as in host names, of lower-case letters: also what the names of a profile's nodes are.
    static func isLabel(_ text: String, length: ClosedRange<Int>) -> Bool {
        let bytes = text.utf8
        let alphanumeric = { (byte: UInt8) in (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
        return length.contains(bytes.count) && bytes.allSatisfy { alphanumeric($0) || $0 == UInt8(ascii: "-") }
            && bytes.first.map(alphanumeric) == true && bytes.last.map(alphanumeric) == true
    }

    public var description: String { text }

    public static func < (left: ProfileName, right: ProfileName) -> Bool { left.text < right.text }
}
