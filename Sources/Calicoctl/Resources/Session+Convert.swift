// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeObjects
import Values
import YAMLCoding

/// `convert` and the part of `validate` that needs no cluster.
extension Session {
    /// Objects of either API group as `projectcalico.org/v3`.
    func convert() throws {
        let format = arguments.value("output") ?? "yaml"
        guard ["yaml", "yml", "json"].contains(format) else {
            throw Failure("unrecognized output format '\(format)': use yaml or json")
        }
        guard arguments.value("filename") != nil else { throw Failure("convert needs -f FILE") }
        let objects = try documents()
        if !arguments.flag("ignore-validation") {
            let errors = Self.problems(objects.map { ($0.0, $0.1) })
            guard errors.isEmpty else { throw Failure(errors.joined(separator: "\n")) }
        }
        let converted = objects.map { Self.outward($0.1, $0.0).json }
        if format == "json" {
            let whole: JSON = converted.count == 1 ? converted[0] : .array(converted)
            output(whole.text(indent: 2) + "\n")
        } else {
            output(converted.map { YAML.text($0) }.joined(separator: "---\n"))
        }
    }

    /// What the API server would say of the objects, as far as it can be known without one; each object's text names it.
    static func problems(_ objects: [(ResourceKind, KubeObject)]) -> [String] {
        var pools: [KubeObject] = []
        return objects.compactMap { kind, object in
            let errors = problems(kind, object, pools)
            if kind.resource == .ipPools { pools.append(object) }
            return errors.isEmpty ? nil : "\(kind.kind)(\(object.key)): \(errors.joined(separator: "; "))"
        }
    }

    /// - Parameter pools: pools of the same files: they must not overlap.
    static func problems(_ kind: ResourceKind, _ object: KubeObject, _ pools: [KubeObject]) -> [String] {
        let registry = ResourceRegistry.shared
        guard let type = registry.resource(kind.resource) else { return [] }
        let decoded = registry.decode(object, as: type)
        if let problem = decoded.typeError { return [problem] }
        guard decoded.unknownFields.isEmpty else { return decoded.unknownFields.map { "unknown field \"\($0)\"" } }
        let errors = type.validate(type.defaulted(decoded.object, registry: registry))
        return (errors + addressProblems(kind, decoded.object, pools)).map(\.description)
    }
}
