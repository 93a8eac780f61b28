// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension ResourceRegistry {
    /// The definitions of the kinds that every server has, made once.
    static let builtInDefinitions = shared.calicoDefinitions

    /// The CustomResourceDefinitions of Calico's kinds, for those who look for them. The program serves these kinds by
    /// itself, because `crd.projectcalico.org` and `projectcalico.org` show one set of objects.
    var calicoDefinitions: [KubeObject] {
        resources.filter { $0.group == "crd.projectcalico.org" && $0.custom == nil }.compactMap { type in
            guard let schema = openAPI(of: type) else { return nil }
            var names: JSON = [
                "plural": JSON(type.resource.resource), "singular": JSON(type.singular), "kind": JSON(type.kind),
                "listKind": JSON(type.listKind),
            ]
            if !type.shortNames.isEmpty { names["shortNames"] = JSON(type.shortNames) }
            let version: JSON = [
                "name": JSON(type.version), "served": true, "storage": true,
                "schema": ["openAPIV3Schema": schema],
            ]
            var definition = KubeObject(
                .customResourceDefinitions, kind: "CustomResourceDefinition",
                name: "\(type.resource.resource).\(type.group)")
            definition["spec"] = [
                "group": JSON(type.group), "names": names,
                "scope": type.isNamespaced ? "Namespaced" : "Cluster", "versions": .array([version]),
                "conversion": ["strategy": "None"],
            ]
            return definition
        }
    }
}
