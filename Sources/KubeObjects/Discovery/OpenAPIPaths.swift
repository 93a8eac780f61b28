// SPDX-License-Identifier: Apache-2.0

import Values

/// The paths of a resource: what clients look up there is which bodies and parameters PATCH and its like take.
enum OpenAPIPaths {
    private static let patchTypes = [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]

    private static func paths(_ type: ResourceType) -> (collection: String, object: String) {
        let collection = type.resource.path(namespace: type.isNamespaced ? "{namespace}" : nil)
        return (collection, collection + "/{name}")
    }

    private static func kind(_ type: ResourceType) -> JSON {
        ["group": JSON(type.group), "kind": JSON(type.kind), "version": JSON(type.version)]
    }

    static func acceptedPatches(_ type: ResourceType) -> [String] {
        type.isCustom ? patchTypes.filter { !$0.contains("strategic") } : patchTypes
    }

    private static let actions: [(verb: String, method: String, action: String, onObject: Bool)] = [
        ("list", "get", "list", false), ("create", "post", "post", false),
        ("deletecollection", "delete", "deletecollection", false), ("get", "get", "get", true),
        ("update", "put", "put", true), ("patch", "patch", "patch", true), ("delete", "delete", "delete", true),
    ]

    static func v3(_ type: ResourceType) -> [JSONObject.Member] {
        members(type) { method, action in
            let writes = ["post", "put", "patch"].contains(method)
            let names = writes ? ["dryRun", "fieldManager", "fieldValidation"] : ["labelSelector"]
            var operation: JSON = [
                "x-kubernetes-action": JSON(action), "x-kubernetes-group-version-kind": kind(type),
                "parameters": .array(
                    names.map {
                        [
                            "name": JSON($0), "in": "query",
                            "schema": ["type": "string", "uniqueItems": true],
                        ]
                    }),
                "responses": ["200": ["description": "OK", "content": content(type, ["application/json"])]],
            ]
            if writes {
                operation["requestBody"] = [
                    "required": true, "content": content(type, method == "patch" ? acceptedPatches(type) : ["*/*"]),
                ]
            }
            return operation
        }
    }

    private static func content(_ type: ResourceType, _ mediaTypes: [String]) -> JSON {
        .object(
            JSONObject(
                mediaTypes.map { mediaType in
                    let name =
                        mediaType.contains("patch") ? "io.k8s.apimachinery.pkg.apis.meta.v1.Patch" : type.typeName
                    return (mediaType, ["schema": ["$ref": JSON("#/components/schemas/\(name)")]])
                }))
    }

    static func v2(_ type: ResourceType) -> [JSONObject.Member] {
        members(type) { method, action in
            let writes = ["post", "put", "patch"].contains(method)
            var operation: JSON = [
                "x-kubernetes-action": JSON(action), "x-kubernetes-group-version-kind": kind(type),
                "consumes": method == "patch" ? JSON(acceptedPatches(type)) : ["*/*"],
                "produces": ["application/json"], "responses": ["200": ["description": "OK"]],
            ]
            if writes {
                operation["parameters"] = .array(
                    ["dryRun", "fieldManager", "fieldValidation"].map {
                        ["name": JSON($0), "in": "query", "type": "string", "uniqueItems": true]
                    })
            }
            return operation
        }
    }

    private static func members(
        _ type: ResourceType, _ operation: (_ method: String, _ action: String) -> JSON
    ) -> [JSONObject.Member] {
        let paths = paths(type)
        return [(paths.collection, false), (paths.object, true)].compactMap { path, onObject in
            let operations = actions.filter { $0.onObject == onObject && type.verbs.contains($0.verb) }
                .map { ($0.method, operation($0.method, $0.action)) }
            return operations.isEmpty ? nil : (path, .object(JSONObject(operations)))
        }
    }
}
