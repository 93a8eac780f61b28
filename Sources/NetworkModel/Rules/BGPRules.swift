// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What must hold of BGPConfiguration, BGPPeer and BGPFilter.
enum BGPRules {
    static func configuration(_ object: KubeObject, _ spec: SpecReader) -> [FieldError] {
        var spec = spec
        let json = object["spec"]
        if let value = json["asNumber"], !value.isNull, ASNumber.read(value) == nil {
            spec.refuse("asNumber", "AS numbers are 1 to 4294967295")
        }
        if object.name != "default" {
            for field in ["asNumber", "nodeToNodeMeshEnabled"] where json[field] != nil {
                spec.refuse(field, "it is one for all nodes: set it in the BGPConfiguration default")
            }
        }
        if json["nodeToNodeMeshEnabled"].bool == false {
            for field in ["nodeMeshPassword", "nodeMeshMaxRestartTime"] where json[field] != nil {
                spec.refuse(field, "it is for the mesh of nodes, and nodeToNodeMeshEnabled is false")
            }
        }
        spec.restartTime("nodeMeshMaxRestartTime")
        spec.add(password(json["nodeMeshPassword"], "spec.nodeMeshPassword"))
        spec.address("localWorkloadPeeringIPV4", .v4)
        spec.address("localWorkloadPeeringIPV6", .v6)
        for (index, value) in (json["ignoredInterfaces"].array ?? []).enumerated() {
            if let pattern = value.string, !BGPText.isInterfacePattern(pattern) {
                spec.add([
                    .invalid(
                        "spec.ignoredInterfaces[\(index)]", value,
                        "the name of an interface is wanted, of at most 15 characters, with * and ?")
                ])
            }
        }
        spec.add(communities(json))
        return spec.errors
    }

    private static func communities(_ json: JSON?) -> [FieldError] {
        var errors: [FieldError] = []
        var names: Set<String> = []
        for (index, item) in (json["communities"].array ?? []).enumerated() {
            let field = "spec.communities[\(index)]"
            if let value = item["value"], !value.isNull, value.string.flatMap({ BGPCommunity($0) }) == nil {
                errors.append(
                    .invalid(
                        "\(field).value", value, "65000:1 (each to 65535) or 65000:1:2 (each to 4294967295) is wanted"))
            }
            guard let name = item["name"].string, !name.isEmpty else {
                errors.append(.required("\(field).name", "prefixAdvertisements name it"))
                continue
            }
            if !names.insert(name).inserted { errors.append(.duplicate("\(field).name", JSON(name))) }
        }
        let advertisements = json["prefixAdvertisements"].array ?? []
        if !names.isEmpty, advertisements.isEmpty {
            errors.append(.required("spec.prefixAdvertisements", "nothing uses the communities without"))
        }
        for (index, item) in advertisements.enumerated() {
            for (place, value) in (item["communities"].array ?? []).enumerated() {
                guard let text = value.string, BGPCommunity(text) == nil, !names.contains(text) else { continue }
                errors.append(
                    .invalid(
                        "spec.prefixAdvertisements[\(index)].communities[\(place)]", value,
                        "it is neither a community such as 65000:1 nor the name of one in spec.communities"
                            + (names.isEmpty ? "" : " (\(names.sorted().joined(separator: ", ")))")))
            }
        }
        return errors
    }

    private static func password(_ json: JSON?, _ path: String) -> [FieldError] {
        guard let reference = json["secretKeyRef"], reference.object != nil else { return [] }
        let name = reference["name"].string ?? ""
        return name.isEmpty ? [.required("\(path).secretKeyRef.name", "the Secret that holds the password")] : []
    }

    static func peer(_ spec: SpecReader) -> [FieldError] {
        var spec = spec
        for (one, other) in [
            ("node", "nodeSelector"), ("peerIP", "peerSelector"), ("localWorkloadSelector", "peerIP"),
            ("localWorkloadSelector", "peerSelector"),
        ] { spec.exclusive(one, other) }
        for field in ["nodeSelector", "peerSelector", "localWorkloadSelector"] { spec.selector(field) }
        for field in ["asNumber", "localASNumber"] {
            if let value = spec.json[field], !value.isNull, value.int != 0, ASNumber.read(value) == nil {
                spec.refuse(field, "AS numbers are 1 to 4294967295")
            }
        }
        let hasNumber = ASNumber.read(spec.json["asNumber"]) != nil
        if let text = spec.text("peerIP") {
            if BGPPeer.address(text) == nil {
                spec.refuse("peerIP", "an address is wanted, as 10.0.0.1, 10.0.0.1:1790, fd00::1 or [fd00::1]:1790")
            }
            if [nil, .null, 0].contains(spec.json["asNumber"]) {
                spec.add([.required("spec.asNumber", "the peer's AS number is wanted beside peerIP")])
            }
        } else if spec.text("peerSelector") != nil {
            if hasNumber { spec.refuse("asNumber", "the nodes that peerSelector selects have their own AS numbers") }
        } else if spec.text("localWorkloadSelector") != nil {
            spec.refuse(
                "localWorkloadSelector",
                "Catbird's nodes do not peer with pods of their own; give peerIP or peerSelector"
            )
        } else {
            spec.add([.required("spec.peerIP", "it says with whom: give peerIP, or peerSelector for nodes")])
        }
        spec.address("reachableBy")
        if spec.text("reachableBy") != nil, spec.text("peerIP") == nil {
            spec.refuse("reachableBy", "it is the gateway to peerIP, which is not set")
        }
        if spec.json["keepOriginalNextHop"].bool == true, spec.text("nextHopMode") != nil {
            spec.refuse("keepOriginalNextHop", "nextHopMode is set as well: keep that one, Keep means the same")
        }
        spec.restartTime("maxRestartTime")
        spec.restartTime("keepaliveTime")
        spec.number("ttlSecurity", 0...255)
        spec.number("numAllowedLocalASNumbers", 0...255)
        if let text = spec.text("reversePeering"), !["Auto", "Manual"].contains(text) {
            spec.add([.notSupported("spec.reversePeering", JSON(text), ["Auto", "Manual"])])
        }
        spec.add(password(spec.json["password"], "spec.password"))
        return spec.errors
    }

    /// Every rule of a filter, by the function that translates it for BIRD.
    static func filter(_ object: KubeObject) -> [FieldError] {
        var errors: [FieldError] = []
        for family in IPFamily.allCases {
            for direction in ["import", "export"] {
                let field = "\(direction)\(family == .v4 ? "V4" : "V6")"
                for (index, rule) in (object["spec"][field].array ?? []).enumerated() {
                    errors += BGPFilter.problems(rule, family, at: "spec.\(field)[\(index)]")
                }
            }
        }
        return errors
    }
}
