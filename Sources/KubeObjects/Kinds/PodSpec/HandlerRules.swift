// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for probes and hooks: what is run in a container, or asked of it.
enum HandlerRules {
    private static let counts = [
        "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
    ]

    static func probe(_ inspection: inout Inspection, _ probe: JSON?, at container: String, named name: String) {
        guard let probe else { return }
        let path = "\(container).\(name)"
        handler(&inspection, probe, at: path, kinds: ["exec", "httpGet", "tcpSocket", "grpc"], gracePeriod: nil)
        for field in counts { inspection.notNegative(probe[field], "\(path).\(field)") }
        let gracePeriod = "terminationGracePeriodSeconds"
        inspection.positive(probe[gracePeriod], "\(path).\(gracePeriod)")
        if name == "readinessProbe" {
            if let seconds = probe[gracePeriod] {
                inspection.report(.invalid("\(path).\(gracePeriod)", seconds, "must not be set for readinessProbes"))
            }
        } else if let threshold = probe["successThreshold"].int, threshold != 1 {
            inspection.report(.invalid("\(path).successThreshold", JSON(threshold), "must be 1"))
        }
    }

    static func lifecycle(_ inspection: inout Inspection, _ lifecycle: JSON?, at path: String, gracePeriod: Int?) {
        for hook in ["postStart", "preStop"] {
            guard let handler = lifecycle[hook] else { continue }
            self.handler(
                &inspection, handler, at: "\(path).\(hook)", kinds: ["exec", "httpGet", "tcpSocket", "sleep"],
                gracePeriod: gracePeriod)
        }
    }

    private static func handler(
        _ inspection: inout Inspection, _ handler: JSON, at path: String, kinds: [String], gracePeriod: Int?
    ) {
        let present = inspection.exactlyOne(
            of: kinds, in: handler, at: path, missing: "must specify a handler type",
            more: "may not specify more than 1 handler type")
        guard let kind = present.first, let action = handler[kind] else { return }
        let place = "\(path).\(kind)"
        switch kind {
        case "exec":
            if (action["command"].array ?? []).isEmpty { inspection.report(.required("\(place).command")) }
        case "httpGet":
            inspection.requireText(action["path"], "\(place).path")
            inspection.portOrName(action["port"], "\(place).port")
            inspection.oneOf(action["scheme"], "\(place).scheme", ["HTTP", "HTTPS"], missing: .notSupported)
            for header in action["httpHeaders"].array ?? [] {
                let name = header["name"].string ?? ""
                inspection.invalid("\(place).httpHeaders", JSON(name), Names.headerNameProblems(name))
            }
        case "sleep":
            guard let seconds = action["seconds"].int, let gracePeriod, seconds < 0 || seconds > gracePeriod else {
                return
            }
            inspection.report(
                .invalid(
                    place, JSON(seconds),
                    "must be non-negative and less than terminationGracePeriodSeconds (\(gracePeriod))"))
        default: inspection.portOrName(action["port"], "\(place).port")
        }
    }
}
