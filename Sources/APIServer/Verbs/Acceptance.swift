// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// From what a client sent to an object of the type that the path names.
extension APIServer {
    /// Checks version, kind and field names, and drops what the schema does not know.
    func accept(_ body: DecodedBody, _ context: RequestContext) throws -> KubeObject {
        let type = context.type
        var object = body.object
        try requireKind(&object, type.groupVersionKind)
        let decoded = registry.decode(object, as: type)
        if let problem = decoded.typeError { throw ResourceRegistry.typeError(type, problem) }
        let directive = context.fieldValidation
        if directive != .ignore, !(decoded.unknownFields.isEmpty && body.duplicates.isEmpty) {
            if directive == .strict {
                throw ResourceRegistry.strictDecodingError(
                    type, unknown: decoded.unknownFields, duplicates: body.duplicates)
            }
            for field in decoded.unknownFields { context.warnings.add("unknown field \"\(field)\"") }
            for field in body.duplicates { context.warnings.add("duplicate field \"\(field)\"") }
        }
        return decoded.object
    }

    /// Fills in version and kind where they are missing, and refuses others.
    func requireKind(_ object: inout KubeObject, _ expected: GroupVersionKind) throws(StatusError) {
        if object.apiVersion.isEmpty { object["apiVersion"] = JSON(expected.apiVersion) }
        if object.kind.isEmpty { object["kind"] = JSON(expected.kind) }
        guard object.apiVersion == expected.apiVersion else {
            throw .badRequest(
                "the API version in the data (\(object.apiVersion)) does not match the expected API version "
                    + "(\(expected.apiVersion))")
        }
        guard object.kind == expected.kind else {
            throw .badRequest(
                "the kind in the data (\(object.kind)) does not match the expected kind (\(expected.kind))")
        }
    }

    /// Namespace and name of the object must be those of the path.
    func fitToPath(_ object: inout KubeObject, _ context: RequestContext) throws(StatusError) {
        if context.type.isNamespaced {
            if let namespace = object.namespace, namespace != context.namespace {
                throw .badRequest(
                    "the namespace of the provided object does not match the namespace sent on the request")
            }
            object.metadata["namespace"] = context.namespace.map { JSON($0) }
        } else {
            object.metadata["namespace"] = nil
        }
        guard let name = context.info.name else { return }
        if object.name.isEmpty { object.metadata["name"] = JSON(name) }
        if object.name != name {
            throw .badRequest(
                "the name of the object (\(object.name)) does not match the name on the URL (\(name))")
        }
    }

    /// The networks of all blocks, from their names: nothing is decoded for it.
    private func blockNetworks() -> [CIDR] {
        let resource = StorageKey(.ipamBlocks)
        return mirror.list(resource).objects.compactMap {
            IPAMNames.cidr(ofBlock: String($0.key.dropFirst(resource.prefix.count)))
        }
    }

    /// The networks of the blocks that may overlap one that is to be made. A cluster has as many blocks as nodes, and
    /// more: they are not all looked at for each.
    private func blockNetworks(around block: KubeObject) -> [CIDR] {
        guard let cidr = block["spec"]["cidr"].string.flatMap({ CIDR($0) }) else { return [] }
        let resource = StorageKey(.ipamBlocks)
        let (names, prefixes) = IPAMNames.namesAround(cidr)
        let found = names.filter { mirror.object(resource, nil, $0) != nil }
        let more = prefixes.flatMap { prefix in
            mirror.list(resource, beginning: prefix).map { String($0.key.dropFirst(resource.prefix.count)) }
        }
        return (found + more).compactMap { IPAMNames.cidr(ofBlock: $0) }
    }

    /// Says of what is made or changed that it will not do what is expected of it, where nothing forbids that: a pool
    /// too small for the nodes that it selects, a kind that nothing acts upon yet.
    func warn(of object: @autoclosure () -> KubeObject, old: KubeObject?, _ context: RequestContext) {
        if Unheeded.concerns(context.type.groupVersionKind), context.info.subresource.isEmpty {
            for fact in Unheeded.facts(object(), old: old) { context.warnings.add(fact.warning) }
        }
        for warning in unjudged.warnings(old == nil ? .create : .update, context.type) { context.warnings.add(warning) }
        guard context.type.storage == .ipPools else { return }
        let object = object()
        for warning in IPPoolValidation.warnings(object) where object["spec"]["cidr"] != old?["spec"]["cidr"] {
            context.warnings.add(warning)
        }
        guard !object.isBeingDeleted, object["spec"] != old?["spec"],
            let pool = try? IPPool(object)
        else { return }
        let nodes = mirror.list(StorageKey(.nodes)).objects.map { $0.object() }
        let others = mirror.list(StorageKey(.ipPools)).objects.map { $0.object() }.filter { $0.name != object.name }
        let config = mirror.list(StorageKey(.ipamConfigs)).objects.first?.object()
        let snapshot = IPAMSnapshot(
            pools: IPPool.read(others + [object]).pools, config: config.map { IPAMConfig($0) } ?? IPAMConfig(),
            nodes: Dictionary(nodes.map { ($0.name, $0.labels) }, uniquingKeysWith: { first, _ in first }))
        for warning in PoolCapacity.warnings(pool, snapshot) { context.warnings.add(warning) }
    }

    /// The rules of the kind; address pools are checked against all other pools too.
    func validate(
        _ object: KubeObject, old: KubeObject?, _ type: ResourceType, subresource: String? = nil
    ) async throws {
        var special: [FieldError] = []
        if type.storage == .ipPools, !object.isBeingDeleted {
            let others = mirror.list(StorageKey(.ipPools)).objects.map { $0.object() }.filter { $0.name != object.name }
            special += IPPoolValidation.validate(object, existing: others, old: old)
            if old == nil { special += IPAMValidation.newPool(object, blocks: blockNetworks()) }
        }
        // Whichever client writes it: two blocks over the same addresses would give them out twice.
        if type.storage == .ipamBlocks {
            special += IPAMValidation.block(object, old: old, others: old == nil ? blockNetworks(around: object) : [])
        }
        special += CertificateRequests.problems(type.storage, object, old: old)
        if !object.isBeingDeleted { special += CalicoRules.problems(type.storage, object, old: old) }
        // What the kind's own rules say of a field says more than the schema does.
        let judged = Set(special.map(\.field))
        let errors =
            type.validate(object, old: old, subresource: subresource, registry: registry)
            .filter { !judged.contains($0.field) } + special
        if !errors.isEmpty { throw StatusError.invalid(type, name: object.name, errors) }
    }
}
