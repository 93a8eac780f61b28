// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
import KubeClient
import KubeObjects
import Values
import YAMLCoding

extension Session {
    func get() async throws {
        let format = arguments.value("output") ?? "ps"
        let isKnown = ["ps", "wide", "yaml", "yml", "json"].contains(format)
        guard isKnown || ["custom-columns=", "go-template=", "go-template-file="].contains(where: format.hasPrefix)
        else {
            throw Failure(
                "unrecognized output format '\(format)': use ps, wide, yaml, json, custom-columns=A,B, go-template=TEMPLATE or go-template-file=FILE"
            )
        }
        let client = try client()
        var found: [(ResourceKind, [KubeObject])] = []
        if arguments.value("filename") != nil {
            for (kind, object) in try documents() {
                found.append((kind, [try await one(client, kind, object.name, in: object.namespace)]))
            }
        } else {
            let words = (arguments.words.count > 1 ? arguments.words[1] : "all").split(separator: ",").map(String.init)
            let kinds = try words.map { try ResourceKind.named($0) }
            let names = arguments.words.dropFirst(2).flatMap { $0.split(separator: ",").map(String.init) }
            guard kinds.count == 1 || names.isEmpty else {
                throw Failure(
                    "get takes names of one kind at a time: '\(words.joined(separator: ","))' are \(kinds.count)")
            }
            for kind in kinds {
                let namespace = try namespace(kind)
                if names.isEmpty {
                    let items = try await listed(client, kind, namespace)
                    found.append((kind, items.sorted { $0.key < $1.key }))
                } else {
                    var objects: [KubeObject] = []
                    for name in names { objects.append(try await one(client, kind, name, in: namespace)) }
                    found.append((kind, objects))
                }
            }
        }
        if ["wide", "custom-columns="].contains(where: format.hasPrefix) {
            for index in found.indices where found[index].0.resource == .nodes {
                found[index].1 = try await withInheritedNumbers(client, found[index].1)
            }
        }
        try show(found, format)
    }

    /// Nodes without an AS number of their own, with that of the cluster in parentheses: for tables only.
    private func withInheritedNumbers(_ client: KubeClient, _ nodes: [KubeObject]) async throws -> [KubeObject] {
        let key = "projectcalico.org/ASNumber"
        let defaults = try await client.find(
            GroupVersionResource("crd.projectcalico.org", "v1", "bgpconfigurations"), "default")
        let number = defaults?["spec"]["asNumber"].map { $0.string ?? $0.text() } ?? "64512"
        return nodes.map { node in
            guard node.annotations[key] == nil else { return node }
            var node = node
            node.metadata["annotations"][key] = JSON("(\(number))")
            return node
        }
    }

    /// The namespace that applies to a kind; nil means all, or none.
    func namespace(_ kind: ResourceKind) throws -> String? {
        let named = arguments.value("namespace")
        guard kind.isNamespaced else {
            if let named { throw Failure("\(kind.kind) is not namespaced: remove --namespace=\(named)") }
            return nil
        }
        return arguments.flag("all-namespaces") ? nil : named ?? "default"
    }

    func listed(_ client: KubeClient, _ kind: ResourceKind, _ namespace: String?) async throws -> [KubeObject] {
        do {
            if let made = try await Synthesized.list(kind, client, namespace) { return made }
            return try await client.list(kind.resource, in: namespace).items
        } catch let error as APIError {
            throw Failure("Failed to get resources: \(error.message)")
        }
    }

    func one(_ client: KubeClient, _ kind: ResourceKind, _ name: String, in namespace: String?) async throws
        -> KubeObject
    {
        do {
            if let made = try await Synthesized.list(kind, client, namespace) {
                guard let found = made.first(where: { $0.name == name }) else {
                    throw APIError(code: 404, reason: "NotFound", message: "\(kind.kind) \"\(name)\" not found")
                }
                return found
            }
            return try await client.get(kind.resource, name, in: namespace)
        } catch let error as APIError {
            guard error.isNotFound else { throw Failure("Failed to get resources: \(error.message)") }
            throw Failure("resource does not exist: \(kind.kind)(\(name)) with error: \(error.message)")
        }
    }

    private func show(_ found: [(ResourceKind, [KubeObject])], _ format: String) throws {
        for (prefix, isFile) in [("go-template-file=", true), ("go-template=", false)] where format.hasPrefix(prefix) {
            let text = String(format.dropFirst(prefix.count))
            let template = isFile ? String(decoding: try Self.read(text), as: UTF8.self) : text
            output(try GoTemplate(template).rendered(document(found)))
            return
        }
        switch format {
        case "yaml", "yml": output(YAML.text(document(found)))
        case "json": output(document(found).text(indent: 2) + "\n")
        default:
            for (kind, objects) in found { output(try table(kind, objects, format)) }
        }
    }

    /// One object as itself, several as a list of their kind.
    private func document(_ found: [(ResourceKind, [KubeObject])]) -> JSON {
        let export = arguments.flag("export")
        let all = found.flatMap { kind, objects in objects.map { Self.outward($0, kind, export: export).json } }
        let isNamed = arguments.words.count == 3 || (arguments.value("filename") != nil && all.count == 1)
        if isNamed, all.count == 1 { return all[0] }
        let kinds = Set(found.map(\.0.kind))
        let listKind = kinds.count == 1 ? "\(kinds.first ?? "")List" : "List"
        return [
            "apiVersion": "projectcalico.org/v3", "items": .array(all), "kind": JSON(listKind), "metadata": [:],
        ]
    }

    private func table(_ kind: ResourceKind, _ objects: [KubeObject], _ format: String) throws -> String {
        var columns = kind.columns.filter { format == "wide" || !$0.isWide }
        if format.hasPrefix("custom-columns=") {
            let wanted = format.dropFirst("custom-columns=".count).split(separator: ",").map { $0.uppercased() }
            columns = try wanted.map { name in
                guard let column = kind.columns.first(where: { $0.heading == name }) else {
                    throw Failure(
                        "custom-columns: \(kind.kind) has no column \(name); it has \(kind.columns.map(\.heading).joined(separator: ", "))"
                    )
                }
                return column
            }
        }
        if kind.isNamespaced, arguments.flag("all-namespaces") || arguments.value("namespace") != nil {
            columns.insert(ResourceKind.Column("NAMESPACE") { $0.namespace ?? "" }, at: 0)
        }
        return TextTable(
            headings: columns.map(\.heading), rows: objects.map { object in columns.map { $0.cell(object) } }
        ).text
    }
}
