// SPDX-License-Identifier: Apache-2.0

import Values

/// One operation of a path, as both versions of OpenAPI describe it.
struct OpenAPIOperation {
    struct Parameter {
        let name: String
        /// `string`, `boolean` or `integer`.
        let type: String
        var isInPath = false
    }

    /// In lower case.
    let method: String
    /// In the words of upstream: `list`, `get`, `post`, `put`, `patch`, `delete`, `deletecollection` or `connect`.
    let action: String
    /// Unique in a document; generated clients name their functions after it.
    let id: String
    /// The group and version after which generated clients name their classes: `apps_v1`.
    let tag: String
    let kind: GroupVersionKind
    let parameters: [Parameter]
    /// The media types of the body with its type; empty for requests without one.
    var consumes: [String] = []
    var body: String?
    var isBodyRequired = true
    /// Nil for text and streams.
    let response: String?

    /// Status codes of success.
    private var codes: [(String, String)] {
        switch action {
        case "post": [("200", "OK"), ("201", "Created"), ("202", "Accepted")]
        case "put", "patch": [("200", "OK"), ("201", "Created")]
        case "delete": [("200", "OK"), ("202", "Accepted")]
        default: [("200", "OK")]
        }
    }

    private var common: JSON {
        [
            "tags": [JSON(tag)], "operationId": JSON(id), "x-kubernetes-action": JSON(action),
            "x-kubernetes-group-version-kind": [
                "group": JSON(kind.group), "kind": JSON(kind.kind), "version": JSON(kind.version),
            ],
        ]
    }

    static let patch = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"

    var version3: JSON {
        var operation = common
        operation["parameters"] = .array(
            parameters.map { parameter in
                var entry: JSON = [
                    "name": JSON(parameter.name), "in": parameter.isInPath ? "path" : "query",
                    "schema": ["type": JSON(parameter.type), "uniqueItems": true],
                ]
                if parameter.isInPath { entry["required"] = true }
                return entry
            })
        if let body {
            operation["requestBody"] = ["content": Self.content(body, consumes)]
            if isBodyRequired { operation["requestBody"]["required"] = true }
        }
        let content = response.map { Self.content($0, ["application/json", "application/yaml"]) }
        operation["responses"] = .object(
            JSONObject(
                codes.map { code, text in
                    (
                        code,
                        [
                            "description": JSON(text),
                            "content": content ?? ["text/plain": ["schema": ["type": "string"]]],
                        ]
                    )
                }))
        return operation
    }

    private static func content(_ type: String, _ mediaTypes: [String]) -> JSON {
        .object(JSONObject(mediaTypes.map { ($0, ["schema": ["$ref": JSON("#/components/schemas/\(type)")]]) }))
    }

    var version2: JSON {
        var operation = common
        operation["consumes"] = JSON(consumes.isEmpty ? ["*/*"] : consumes)
        operation["produces"] = response == nil ? ["text/plain"] : ["application/json", "application/yaml"]
        var entries: [JSON] = []
        if let body {
            entries.append(["name": "body", "in": "body", "schema": ["$ref": JSON("#/definitions/\(body)")]])
            if isBodyRequired { entries[0]["required"] = true }
        }
        operation["parameters"] = .array(
            entries
                + parameters.map { parameter in
                    var entry: JSON = [
                        "name": JSON(parameter.name), "in": parameter.isInPath ? "path" : "query",
                        "type": JSON(parameter.type), "uniqueItems": true,
                    ]
                    if parameter.isInPath { entry["required"] = true }
                    return entry
                })
        let schema: JSON = response.map { ["$ref": JSON("#/definitions/\($0)")] } ?? ["type": "string"]
        operation["responses"] = .object(
            JSONObject(codes.map { ($0.0, ["description": JSON($0.1), "schema": schema]) }))
        return operation
    }
}
