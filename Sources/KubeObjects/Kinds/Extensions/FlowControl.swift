// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let flowSchema = KindDescription(
        "flowcontrol.apiserver.k8s.io", "FlowSchema",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName, .text("PriorityLevel", "spec.priorityLevelConfiguration.name"),
            .number("MatchingPrecedence", "spec.matchingPrecedence"),
            .text("DistinguisherMethod", "spec.distinguisherMethod.type"), .age,
            TableColumn("MissingPL") { schema in
                let dangling = (schema["status"]["conditions"].array ?? []).first { $0["type"].string == "Dangling" }
                return JSON(dangling?["status"].string ?? "?")
            },
        ],
        initialStatus: { _ in .object([:]) },
        defaults: { schema in schema.change("spec") { $0.fillNumber("matchingPrecedence", 1000) } },
        rules: FlowSchemaRules.inspect)

    static let priorityLevelConfiguration = KindDescription(
        "flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName, .text("Type", "spec.type", missing: ""),
            level("NominalConcurrencyShares", ["limited", "nominalConcurrencyShares"]),
            level("Queues", ["limited", "limitResponse", "queuing", "queues"]),
            level("HandSize", ["limited", "limitResponse", "queuing", "handSize"]),
            level("QueueLengthLimit", ["limited", "limitResponse", "queuing", "queueLengthLimit"]), .age,
        ],
        initialStatus: { _ in .object([:]) },
        defaults: { configuration in
            configuration.change("spec") { spec in
                if spec["type"].string == "Exempt" {
                    spec.make("exempt") { exempt in
                        exempt.fill("nominalConcurrencyShares", 0)
                        exempt.fill("lendablePercent", 0)
                    }
                }
                spec.change("limited") { limited in
                    limited.fill("nominalConcurrencyShares", 30)
                    limited.fill("lendablePercent", 0)
                    limited.change("limitResponse") { response in
                        response.change("queuing") { queuing in
                            queuing.fillNumber("queues", 64)
                            queuing.fillNumber("handSize", 8)
                            queuing.fillNumber("queueLengthLimit", 50)
                        }
                    }
                }
            }
        },
        rules: PriorityLevelRules.inspect)

    /// A number of a limited level; others show none.
    private static func level(_ name: String, _ steps: [String]) -> TableColumn {
        TableColumn(name) { configuration in
            var value = configuration["spec"]
            for step in steps { value = value[step] }
            return value.int.map { JSON($0) } ?? "<none>"
        }
    }
}
