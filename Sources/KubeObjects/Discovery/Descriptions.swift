// SPDX-License-Identifier: Apache-2.0

import CSchemas

/// What types and their fields are for, in words, for `kubectl explain`. Read when first asked for.
///
/// A type is named by the last three parts of its schema's name (`core.v1.Pod`), a field by its path below the type.
/// A line `PATH.*` names a path whose words hold below this one too, where nothing nearer says more.
public struct Descriptions: Sendable {
    public static let shared = Descriptions()

    private let file = DataFile(catbird_descriptions())
    /// Longer chains of references are a mistake in the file.
    private static let maximumSteps = 8

    private init() {}

    /// Every name in the file, for checking it against the schemas.
    public var names: [String] { file.names }

    /// What a line says; nil when there is none.
    public func line(_ name: String) -> String? { file.text(name) }

    /// The name by which the file calls a type: `io.k8s.api.core.v1.Pod` is `core.v1.Pod`.
    public static func shortName(_ typeName: String) -> String {
        typeName.split(separator: ".").suffix(3).joined(separator: ".")
    }

    /// What a type, or the field at a path below it, is for; nil when nobody has written it down.
    ///
    /// - Parameter isKind: whether the type has apiVersion, kind and metadata, which mean the same in all kinds.
    public func text(_ typeName: String, _ path: [String] = [], isKind: Bool = false) -> String? {
        if let text = find(Self.shortName(typeName).split(separator: ".").map(String.init) + path, 0) { return text }
        guard isKind, path.count == 1 else { return nil }
        return file.text("*.\(path[0])")
    }

    private func find(_ path: [String], _ steps: Int) -> String? {
        if let text = file.text(path.joined(separator: ".")) { return text }
        guard steps < Self.maximumSteps else { return nil }
        for length in stride(from: path.count, to: 0, by: -1) {
            guard let other = file.text(path[..<length].joined(separator: ".") + ".*") else { continue }
            let text = find(other.split(separator: ".").map(String.init) + path[length...], steps + 1)
            if let text { return text }
        }
        return nil
    }
}
