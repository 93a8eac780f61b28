// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let limitRange = KindDescription(
        "", "LimitRange", strategy: Strategy(allowsCreateOnUpdate: true), columns: [.objectName, .createdAt],
        defaults: { range in
            range.change("spec") { spec in
                spec.each("limits") { item in
                    guard item["type"].string == "Container" else { return }
                    for (name, amount) in item["max"].object ?? [:] { item.make("default") { $0.fill(name, amount) } }
                    for source in ["default", "min"] {
                        for (name, amount) in item[source].object ?? [:] {
                            item.make("defaultRequest") { $0.fill(name, amount) }
                        }
                    }
                }
            }
        },
        rules: LimitRangeRules.inspect)

    static let resourceQuota = KindDescription(
        "", "ResourceQuota", strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, TableColumn("Request") { JSON(QuotaTable.usage($0.json, limits: false)) },
            TableColumn("Limit") { JSON(QuotaTable.usage($0.json, limits: true)) }, .age,
        ],
        initialStatus: { _ in .object([:]) }, rules: ResourceQuotaRules.inspect,
        statusRules: ResourceQuotaRules.status)
}

private enum QuotaTable {
    static func usage(_ quota: JSON, limits: Bool) -> String {
        (quota["status"]["hard"].object ?? [:]).filter { $0.key.hasPrefix("limits.") == limits }
            .sorted { $0.key < $1.key }
            .map { name, hard in
                "\(name): \(quota["status"]["used"][name].string ?? "0")/\(hard.string ?? "")"
            }.joined(separator: ", ")
    }
}
