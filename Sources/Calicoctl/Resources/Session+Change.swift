// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeClient
import KubeObjects
import Values
import YAMLCoding

extension Session {
    /// create, apply, replace, delete and validate: each document in turn, then how many went well.
    func change(_ verb: String) async throws {
        let objects = try verb == "delete" && arguments.value("filename") == nil ? named() : documents()
        guard !objects.isEmpty else { return }
        let kinds = Set(objects.map(\.0.kind))
        let kindName = kinds.count == 1 ? kinds.first ?? "" : ""
        let past = [
            "create": "created", "apply": "applied", "replace": "replaced", "delete": "deleted",
            "validate": "validated",
        ]
        let done = past[verb] ?? verb
        var errors: [String] = []
        var count = 0
        // validate speaks to nobody.
        let client = verb == "validate" ? nil : try client()
        var pools: [KubeObject] = []
        for (kind, object) in objects {
            do {
                if let client {
                    try await send(verb, kind, object, client)
                } else {
                    let problems = Self.problems(kind, object, pools)
                    guard problems.isEmpty else {
                        throw Failure("\(kind.kind)(\(object.key)): \(problems.joined(separator: "; "))")
                    }
                    if kind.resource == .ipPools { pools.append(object) }
                }
                if verb != "delete" {
                    for warning in Self.addressWarnings(kind, object) { self.errors("\(warning)") }
                }
                count += 1
            } catch let failure as Failure {
                errors.append(failure.message)
            } catch let error as APIError {
                errors.append(error.message)
            }
        }
        let noun = kindName.isEmpty ? "resource(s)" : "'\(kindName)' resource(s)"
        if errors.isEmpty {
            output("Successfully \(done) \(count) \(noun)\n")
            return
        }
        let problem = "[\(errors.joined(separator: "; "))]"
        if count > 0 {
            throw Failure(
                "Partial success: \(done) the first \(count) out of \(objects.count) \(noun):\nHit error(s): \(problem)"
            )
        }
        throw Failure("Failed to \(verb) \(noun.replacingSuffix("(s)")): \(problem)")
    }

    private func named() throws -> [(ResourceKind, KubeObject)] {
        guard arguments.words.count > 2 else {
            throw Failure("delete takes a kind and a name, or -f FILE. For example: calicoctl delete ippool NAME")
        }
        let kind = try ResourceKind.named(arguments.words[1])
        let namespace = try namespace(kind)
        return arguments.words.dropFirst(2).flatMap { $0.split(separator: ",") }.map {
            (kind, KubeObject(kind.resource, kind: kind.kind, name: String($0), namespace: namespace))
        }
    }

    private func send(_ verb: String, _ kind: ResourceKind, _ object: KubeObject, _ client: KubeClient) async throws {
        guard !kind.isReadOnly else { throw Failure("\(kind.kind) is read-only: it is written by the cluster itself") }
        let identity = "\(kind.kind)(\(object.key))"
        do {
            switch verb {
            case "create": _ = try await client.create(kind.resource, object)
            case "replace": try await replace(kind, object, client)
            case "delete": try await client.delete(kind.resource, object.name, in: object.namespace)
            default: try await apply(kind, object, client)
            }
        } catch let error as APIError where error.isAlreadyExists {
            if arguments.flag("skip-exists") { return }
            throw Failure("resource already exists: \(identity) with error: \(error.message)")
        } catch let error as APIError where error.isNotFound {
            if arguments.flag("skip-not-exists") { return }
            throw Failure("resource does not exist: \(identity) with error: \(error.message)")
        } catch let error as APIError where error.isConflict {
            throw Failure("update conflict: \(identity) with error: \(error.message)")
        }
    }

    /// Creates what is not there, and replaces what is. What `get -o yaml` printed states a revision, which a creation
    /// must not have.
    private func apply(_ kind: ResourceKind, _ object: KubeObject, _ client: KubeClient) async throws {
        var new = object
        new.metadata["resourceVersion"] = nil as JSON?
        do { _ = try await client.create(kind.resource, new) } catch let error as APIError
            where error.isAlreadyExists
        {
            try await replace(kind, object, client)
        }
    }

    /// Takes the newest revision unless the document states one; tries again when somebody else was faster.
    private func replace(_ kind: ResourceKind, _ object: KubeObject, _ client: KubeClient) async throws {
        for attempt in 1...5 {
            let current = try await client.get(kind.resource, object.name, in: object.namespace)
            var new = object
            if new.resourceVersion.isEmpty { new.metadata["resourceVersion"] = JSON(current.resourceVersion) }
            do {
                _ = try await client.update(kind.resource, new)
                return
            } catch let error as APIError where error.isConflict && attempt < 5 && object.resourceVersion.isEmpty {
                continue
            }
        }
    }

    func patch() async throws {
        guard arguments.words.count == 3, let text = arguments.value("patch") else {
            throw Failure(
                "patch takes a kind, a name and --patch. For example: calicoctl patch ippool NAME -p '{\"spec\": {\"natOutgoing\": true}}'"
            )
        }
        let kind = try ResourceKind.named(arguments.words[1])
        let change: JSON
        do { change = try YAML.document(text) } catch {
            throw Failure("Failed to execute command: the patch is not JSON or YAML: \(error)")
        }
        try await edit(kind, arguments.words[2], verb: "patch") { MergePatch.apply(change, to: $0) }
        output("Successfully patched 1 '\(kind.kind)' resource\n")
    }

    func label() async throws {
        guard arguments.words.count == 4 else {
            throw Failure("label takes a kind, a name and KEY=VALUE, or KEY with --remove")
        }
        let kind = try ResourceKind.named(arguments.words[1])
        let name = arguments.words[2]
        let parts = arguments.words[3].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init)
        let remove = arguments.flag("remove")
        guard remove ? parts.count == 1 : parts.count == 2 else {
            throw Failure("invalid label '\(arguments.words[3])': write KEY=VALUE, or KEY with --remove")
        }
        let overwrite = arguments.flag("overwrite")
        try await edit(kind, name, verb: "label") { object in
            var object = object
            let current = object["metadata"]["labels"][parts[0]]
            if remove {
                guard current != nil else {
                    throw Failure("can not remove label of \(kind.kind) \(name), key \(parts[0]) does not exist")
                }
                object["metadata"]["labels"][parts[0]] = nil
            } else {
                if let current, current.string != parts[1], !overwrite {
                    throw Failure(
                        "failed to update label of \(kind.kind) \(name), key \(parts[0]) is already present. please use '--overwrite' to set a new value."
                    )
                }
                object["metadata"]["labels"][parts[0]] = JSON(parts[1])
            }
            return object
        }
        output("Successfully \(remove ? "removed" : "set") label \(parts[0]) on \(kind.kind) \(name)\n")
    }

    private func edit(_ kind: ResourceKind, _ name: String, verb: String, _ change: (JSON) throws -> JSON) async throws
    {
        guard !kind.isReadOnly else { throw Failure("\(kind.kind) is read-only: it is written by the cluster itself") }
        let client = try client()
        let namespace = try namespace(kind)
        for attempt in 1...5 {
            let current = try await one(client, kind, name, in: namespace)
            do {
                _ = try await client.update(kind.resource, KubeObject(try change(current.json)))
                return
            } catch let error as APIError where error.isConflict && attempt < 5 {
                continue
            } catch let error as APIError {
                throw Failure("Failed to \(verb) '\(kind.kind)' resource: [\(error.message)]")
            }
        }
    }
}

extension String {
    fileprivate func replacingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
