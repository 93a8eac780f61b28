// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for webhooks of admission.
enum WebhookRules {
    private static let longestTimeout = 30

    static func inspect(_ inspection: inout Inspection, isMutating: Bool) {
        var names = Set<String>()
        inspection.each(inspection.object["webhooks"], "webhooks") { inspection, webhook, path in
            self.webhook(&inspection, webhook, at: path, isMutating: isMutating)
            versions(&inspection, webhook["admissionReviewVersions"], at: "\(path).admissionReviewVersions")
            inspection.unique(webhook["name"], "\(path).name", &names)
        }
    }

    private static func webhook(_ inspection: inout Inspection, _ webhook: JSON, at path: String, isMutating: Bool) {
        inspection.requireText(webhook["name"], "\(path).name", Names.hookNameProblems)
        inspection.each(webhook["rules"], "\(path).rules") { AdmissionRules.operations(&$0, $1, at: $2) }
        inspection.oneOf(webhook["failurePolicy"], "\(path).failurePolicy", ["Fail", "Ignore"])
        inspection.oneOf(webhook["matchPolicy"], "\(path).matchPolicy", ["Equivalent", "Exact"])
        if inspection.requireText(
            webhook["sideEffects"], "\(path).sideEffects", "must specify one of None, NoneOnDryRun") != nil
        {
            inspection.oneOf(webhook["sideEffects"], "\(path).sideEffects", ["None", "NoneOnDryRun"])
        }
        if isMutating {
            inspection.oneOf(webhook["reinvocationPolicy"], "\(path).reinvocationPolicy", ["IfNeeded", "Never"])
        }
        if let seconds = webhook["timeoutSeconds"].int, !(1...longestTimeout).contains(seconds) {
            inspection.report(
                .invalid(
                    "\(path).timeoutSeconds", JSON(seconds),
                    "the timeout value must be between 1 and \(longestTimeout) seconds"))
        }
        for selector in ["namespaceSelector", "objectSelector"] {
            LabelSelectorRules.inspect(&inspection, webhook[selector], at: "\(path).\(selector)")
        }
        AdmissionRules.conditions(&inspection, webhook["matchConditions"], at: "\(path).matchConditions")
        client(&inspection, webhook["clientConfig"], at: "\(path).clientConfig")
    }

    /// Where the webhook is: a URL, or a Service of the cluster.
    private static func client(_ inspection: inout Inspection, _ config: JSON?, at path: String) {
        switch (config["url"], config["service"]) {
        case (nil, nil), (_?, _?):
            inspection.report(.required(path, "exactly one of url or service is required"))
        case (let url?, nil):
            inspection.invalid("\(path).url", url, urlProblems(url.string ?? ""))
        case (nil, let service?):
            inspection.requireText(service["name"], "\(path).service.name", "service name is required")
            inspection.requireText(service["namespace"], "\(path).service.namespace", "service namespace is required")
            if let text = service["path"].string {
                inspection.invalid("\(path).service.path", JSON(text), pathProblems(text))
            }
            if let port = service["port"], let number = port.int, !(1...65535).contains(number) {
                inspection.report(
                    .invalid(
                        "\(path).service.port", port,
                        "port is not valid: must be between 1 and 65535, inclusive"))
            }
        }
    }

    private static func urlProblems(_ url: String) -> [String] {
        let form = "; desired format: https://host[/path]"
        let parts = url.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
        let scheme = parts.count == 2 ? String(parts[0]) : ""
        let rest = parts.count == 2 ? parts[1] : ""
        let host = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        var problems: [String] = []
        if scheme != "https" {
            problems.append("'https' is the only allowed URL scheme" + form)
        }
        if host.isEmpty { problems.append("host must be specified" + form) }
        if host.contains("@") { problems.append("user information is not permitted in the URL") }
        if rest.contains("#") { problems.append("fragments are not permitted in the URL") }
        if rest.contains("?") { problems.append("query parameters are not permitted in the URL") }
        return problems
    }

    /// `/a/b`, each step a name.
    private static func pathProblems(_ path: String) -> [String] {
        if path == "/" || path.isEmpty { return [] }
        if path == "//" { return ["segment[0] may not be empty"] }
        if !path.hasPrefix("/") { return ["must start with a '/'"] }
        var problems: [String] = []
        let body = path.dropFirst().hasSuffix("/") ? path.dropFirst().dropLast() : path.dropFirst()
        for (index, step) in body.split(separator: "/", omittingEmptySubsequences: false).enumerated() {
            if step.isEmpty {
                problems.append("segment[\(index)] may not be empty")
            } else {
                problems += Names.subdomainProblems(String(step)).map { "segment[\(index)]: \($0)" }
            }
        }
        return problems
    }

    private static func versions(_ inspection: inout Inspection, _ versions: JSON?, at path: String) {
        let known = ["v1", "v1beta1"]
        let given = versions.array?.compactMap(\.string) ?? []
        guard !given.isEmpty else {
            inspection.report(.required(path, "must specify one of \(known.joined(separator: ", "))"))
            return
        }
        var seen = Set<String>()
        inspection.eachText(versions, path) { inspection, version, place in
            if seen.insert(version).inserted {
                inspection.invalid(place, JSON(version), Names.label1035Problems(version))
            } else {
                inspection.report(.invalid(place, JSON(version), "duplicate version"))
            }
        }
        if !given.contains(where: known.contains) {
            inspection.report(
                .invalid(path, JSON(given), "must include at least one of \(known.joined(separator: ", "))"))
        }
    }
}
