// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    /// What is asked for never changes; who approves writes conditions, who signs writes the certificate. What needs a
    /// reader of certificates, the request and the certificate themselves, is judged by the API server.
    static let certificateSigningRequest = KindDescription(
        "certificates.k8s.io", "CertificateSigningRequest", name: .pathSegment, strategy: Strategy(judgesStatus: true),
        selectable: ["spec.signerName": SelectableField(path: "spec.signerName")],
        columns: [
            .objectName, .age, .text("SignerName", "spec.signerName"), .text("Requestor", "spec.username", missing: ""),
            TableColumn("RequestedDuration") { request in
                JSON(request["spec"]["expirationSeconds"].double.map { HumanDuration.text(seconds: $0) } ?? "<none>")
            },
            TableColumn("Condition") { request in
                let types = (request["status"]["conditions"].array ?? []).compactMap { $0["type"].string }
                var words = ["Approved", "Denied", "Failed"].filter { types.contains($0) }
                if words.isEmpty { words = ["Pending"] }
                if !(request["status"]["certificate"].string ?? "").isEmpty { words.append("Issued") }
                return JSON(words.joined(separator: ","))
            },
        ],
        initialStatus: { _ in .object([:]) },
        enterRequester: { request, user in
            request.make("spec") { spec in
                for member in ["username", "uid", "groups", "extra"] { spec[member] = user[member] }
            }
        },
        keep: { request, old in
            request["spec"] = old["spec"]
            request["status"] = old["status"]
        },
        parts: ["approval": CertificateParts.approval, "status": CertificateParts.status],
        rules: CertificateRules.inspect)
}

/// What the two subresources may change.
private enum CertificateParts {
    static func approval(_ sent: JSON, _ old: JSON, _ now: Timestamp) -> JSON {
        var object = sent
        object["spec"] = old["spec"]
        object["status"] = old["status"] ?? .object([:])
        object["status"]["conditions"] = dated(sent["status"]["conditions"], old, now)
        return object
    }

    static func status(_ sent: JSON, _ old: JSON, _ now: Timestamp) -> JSON {
        var object = sent
        object["spec"] = old["spec"]
        var conditions = sent["status"]["conditions"].array ?? []
        // Whoever signs sends back what was decided, perhaps with times rounded: the decision stays as it is.
        for type in CertificateRules.decisions {
            let decided = CertificateRules.conditions(old, type)
            let places = conditions.indices.filter { conditions[$0]["type"].string == type }
            guard decided.count == places.count else { continue }
            for (place, condition) in zip(places, decided) { conditions[place] = condition }
        }
        let before = sent["status"]["conditions"]
        object["status"]["conditions"] = before == nil ? nil : dated(.array(conditions), old, now)
        return object
    }

    /// The conditions with the times that their writer left out.
    private static func dated(_ conditions: JSON?, _ old: JSON, _ now: Timestamp) -> JSON? {
        guard let list = conditions.array else { return conditions }
        func isMissing(_ time: JSON?) -> Bool { (time.string ?? "").isEmpty }
        return .array(
            list.map { condition in
                var condition = condition
                if isMissing(condition["lastUpdateTime"]) { condition["lastUpdateTime"] = JSON(now.description) }
                if isMissing(condition["lastTransitionTime"]) {
                    let same = (old["status"]["conditions"].array ?? []).first {
                        $0["type"] == condition["type"] && $0["status"] == condition["status"]
                            && !isMissing($0["lastTransitionTime"])
                    }
                    condition["lastTransitionTime"] = same?["lastTransitionTime"] ?? JSON(now.description)
                }
                return condition
            })
    }
}

private enum CertificateRules {
    static let decisions = ["Approved", "Denied"]
    private static let final = decisions + ["Failed"]

    /// The words of `spec.usages`, sorted.
    private static let usages = [
        "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
        "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
        "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
        "server auth", "signing", "timestamping",
    ]

    static func conditions(_ request: JSON?, _ type: String) -> [JSON] {
        (request["status"]["conditions"].array ?? []).filter { $0["type"].string == type }
    }

    static func inspect(_ inspection: inout Inspection) {
        // What is asked for was judged when it was asked, and has not changed since.
        if inspection.old == nil { spec(&inspection, inspection.object["spec"]) }
        conditions(&inspection)
        if let old = inspection.old { changes(&inspection, old) }
    }

    private static func spec(_ inspection: inout Inspection, _ spec: JSON?) {
        let words = spec["usages"].array ?? []
        if words.isEmpty { inspection.report(.required("spec.usages")) }
        var seen = Set<JSON>()
        for (index, word) in words.enumerated() {
            let path = "spec.usages[\(index)]"
            if !usages.contains(word.string ?? "") { inspection.report(.notSupported(path, word, usages)) }
            if !seen.insert(word).inserted { inspection.report(.duplicate(path, word)) }
        }
        signerName(&inspection, spec["signerName"].string ?? "")
        if let seconds = spec["expirationSeconds"].int, seconds < 600 {
            inspection.report(
                .invalid(
                    "spec.expirationSeconds", JSON(seconds),
                    "may not specify a duration less than 600 seconds (10 minutes)"))
        }
    }

    private static func signerName(_ inspection: inout Inspection, _ name: String) {
        let path = "spec.signerName"
        guard !name.isEmpty else { return inspection.report(.required(path)) }
        guard name != "kubernetes.io/legacy-unknown" else {
            return inspection.report(
                .invalid(path, JSON(name), "the legacy signerName is not allowed via this API version"))
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else {
            return inspection.report(
                .invalid(
                    path, JSON(name), "must be a fully qualified domain and path of the form 'example.com/signer-name'"
                ))
        }
        if parts[0].utf8.count > 253 {
            inspection.report(FieldError(.tooLong, path, detail: "may not be more than 253 bytes"))
        }
        let labels = parts[0].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if let bad = labels.first(where: { !Names.labelProblems($0).isEmpty }) {
            inspection.invalid(
                path, JSON(parts[0]), Names.labelProblems(bad).map { "validating label \"\(bad)\": \($0)" })
        }
        if labels.count < 2 {
            inspection.report(
                .invalid(path, JSON(parts[0]), "should be a domain with at least two segments separated by dots"))
        }
        let segments = parts[1].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if let bad = segments.first(where: { !Names.subdomainProblems($0).isEmpty }) {
            inspection.invalid(
                path, JSON(parts[1]), Names.subdomainProblems(bad).map { "validating label \"\(bad)\": \($0)" })
        }
        if name.utf8.count > 571 {
            inspection.report(FieldError(.tooLong, path, detail: "may not be more than 571 bytes"))
        }
    }

    private static func conditions(_ inspection: inout Inspection) {
        var seen = Set<String>()
        for (index, condition) in (inspection.object["status"]["conditions"].array ?? []).enumerated() {
            let path = "status.conditions[\(index)]"
            let type = condition["type"].string ?? ""
            if type.isEmpty { inspection.report(.required("\(path).type")) }
            let allowed = final.contains(type) ? ["True"] : ["False", "True", "Unknown"]
            let status = condition["status"].string ?? ""
            if status.isEmpty {
                inspection.report(.required("\(path).status"))
            } else if !allowed.contains(status) {
                inspection.report(.notSupported("\(path).status", JSON(status), allowed))
            }
            if decisions.contains(type), seen.contains(type == "Approved" ? "Denied" : "Approved") {
                inspection.report(
                    .invalid("\(path).type", JSON(type), "Approved and Denied conditions are mutually exclusive"))
            }
            if !seen.insert(type).inserted { inspection.report(.duplicate("\(path).type", JSON(type))) }
        }
    }

    /// What was decided stays decided; only `approval` decides and only `status` brings the certificate.
    private static func changes(_ inspection: inout Inspection, _ old: JSON) {
        let place = "status.conditions"
        for type in final where conditions(inspection.object, type).count < conditions(old, type).count {
            inspection.report(.forbidden(place, "updates may not remove a condition of type \"\(type)\""))
        }
        if inspection.subresource != "approval" {
            for type in decisions {
                let before = conditions(old, type)
                let after = conditions(inspection.object, type)
                if after.count > before.count {
                    inspection.report(.forbidden(place, "updates may not add a condition of type \"\(type)\""))
                } else if after.count == before.count, after != before {
                    inspection.report(.forbidden(place, "updates may not modify a condition of type \"\(type)\""))
                }
            }
        }
        let before = old["status"]["certificate"].string ?? ""
        guard inspection.object["status"]["certificate"].string ?? "" != before else { return }
        if inspection.subresource != "status" {
            inspection.report(.forbidden("status.certificate", "updates may not set certificate content"))
        } else if !before.isEmpty {
            inspection.report(.forbidden("status.certificate", "updates may not modify existing certificate content"))
        }
    }
}
