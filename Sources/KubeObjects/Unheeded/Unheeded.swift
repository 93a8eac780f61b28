// SPDX-License-Identifier: Apache-2.0

import Values

/// What is accepted and stored, and acted upon by nobody in this version: no controller, no agent, no kubelet.
///
/// This is the one place that knows. The API server asks it to warn whoever writes such an object, `doctor` to name those
/// that are there. Whoever builds the missing part takes its line out of the tables.
public enum Unheeded {
    public struct Fact: Sendable, Hashable {
        /// Where it stands in the object; empty for the object as a whole.
        public let field: String
        /// What does not happen, and what to do instead where there is something.
        public let message: String
        /// As a warning says it.
        public let warning: String
    }

    /// - Parameter old: what `object` replaces: who changes something else hears nothing of what was there before.
    public static func facts(_ object: KubeObject, old: KubeObject? = nil) -> [Fact] {
        guard old == nil || parts.contains(where: { object[$0] != old?[$0] }) else { return [] }
        let kind = GroupKind(object.apiVersion, object.kind)
        var facts: [Fact] = []
        if let message = kinds[kind] {
            facts.append(Fact(field: "", message: message, warning: "\(object.kind) is stored; \(message)"))
        }
        for line in fields[kind] ?? [] {
            guard line.isUsed(value(object.json, line.path[...])) else { continue }
            facts.append(fact(line.path.joined(separator: "."), line.message))
        }
        if let path = podSpecs[kind] {
            for found in PodLines.all(value(object.json, path[...])) {
                facts.append(fact("\(path.joined(separator: ".")).\(found.field)", found.message))
            }
        }
        return facts
    }

    /// Whether there is anything to look for in objects of a kind.
    public static func concerns(_ kind: GroupVersionKind) -> Bool {
        let kind = GroupKind(group: kind.group, kind.kind)
        return kinds[kind] != nil || fields[kind] != nil || podSpecs[kind] != nil
    }

    private static func fact(_ field: String, _ message: String) -> Fact {
        Fact(field: field, message: message, warning: "\(field) is stored; \(message)")
    }

    /// What says what an object asks for.
    private static let parts = [
        "spec", "webhooks", "handler", "template", "provisioner", "driver", "driverName", "controller",
    ]

    static func value(_ json: JSON?, _ path: ArraySlice<String>) -> JSON? {
        guard let step = path.first else { return json }
        return value(json[step], path.dropFirst())
    }

    struct GroupKind: Hashable {
        let group: String
        let kind: String

        init(group: String, _ kind: String) {
            self.group = group
            self.kind = kind
        }

        init(_ apiVersion: String, _ kind: String) {
            let parts = apiVersion.split(separator: "/")
            self.init(group: parts.count == 2 ? String(parts[0]) : "", kind)
        }
    }

    struct Line: Sendable {
        let path: [String]
        let message: String
        let isUsed: @Sendable (JSON?) -> Bool

        init(_ path: String, _ message: String, _ isUsed: @escaping @Sendable (JSON?) -> Bool) {
            self.path = path.split(separator: ".").map(String.init)
            self.message = message
            self.isUsed = isUsed
        }

        init(_ path: String, is text: String, _ message: String) { self.init(path, message) { $0.string == text } }
    }
}
