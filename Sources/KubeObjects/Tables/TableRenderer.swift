// SPDX-License-Identifier: Apache-2.0

public import Values

/// Objects as the tables that `kubectl get` prints, and as their metadata alone.
public struct TableRenderer: Sendable {
    /// How much of an object a row carries.
    public enum IncludedObject: String, Sendable {
        case none = "None"
        case metadata = "Metadata"
        case object = "Object"
    }

    private let columns: [TableColumn]
    /// The type whose members the columns read, where objects may come in another version.
    private let columnType: ResourceType?

    public init(_ type: ResourceType, registry: ResourceRegistry = .shared) {
        columnType = type.isCustom || type.storage == type.resource ? nil : registry.resource(type.storage)
        columns = type.description.columns ?? CustomColumns.columns(of: type)
    }

    /// A Table of the objects. `listMetadata` goes into its metadata: resourceVersion, continue, remainingItemCount.
    public func table(
        _ objects: [KubeObject], include: IncludedObject = .metadata, listMetadata: JSON = .object([:]),
        withColumns: Bool = true, now: Timestamp = .now, version: String = "v1"
    ) -> JSON {
        [
            "kind": "Table", "apiVersion": JSON("meta.k8s.io/\(version)"), "metadata": listMetadata,
            // A watch names the columns with its first event only.
            "columnDefinitions": withColumns ? .array(columns.map(\.definition)) : .array([]),
            "rows": .array(objects.map { row($0, include, now) }),
        ]
    }

    private func row(_ object: KubeObject, _ include: IncludedObject, _ now: Timestamp) -> JSON {
        let shown = columnType?.converted(object) ?? object
        var row: JSON = ["cells": .array(columns.map { $0.cell(shown, now) })]
        if let phase = object["status"]["phase"].string, object.kind == "Pod", phase == "Succeeded" || phase == "Failed"
        {
            row["conditions"] = [
                [
                    "type": "Completed", "status": "True", "reason": JSON(phase),
                    "message": JSON(
                        phase == "Succeeded"
                            ? "The pod has completed successfully." : "The pod failed."),
                ]
            ]
        }
        switch include {
        case .none: row["object"] = .null
        case .metadata: row["object"] = Self.partialMetadata(object)
        case .object: row["object"] = object.json
        }
        return row
    }

    /// `PartialObjectMetadata`: what `as=PartialObjectMetadata` asks for.
    public static func partialMetadata(_ object: KubeObject, version: String = "v1") -> JSON {
        [
            "kind": "PartialObjectMetadata", "apiVersion": JSON("meta.k8s.io/\(version)"),
            "metadata": object.metadata ?? .object([:]),
        ]
    }

    public static func partialMetadataList(
        _ objects: [KubeObject], listMetadata: JSON = .object([:]), version: String = "v1"
    ) -> JSON {
        [
            "kind": "PartialObjectMetadataList", "apiVersion": JSON("meta.k8s.io/\(version)"),
            "metadata": listMetadata, "items": .array(objects.map { partialMetadata($0, version: version) }),
        ]
    }
}
