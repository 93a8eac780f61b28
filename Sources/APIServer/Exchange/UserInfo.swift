// SPDX-License-Identifier: Apache-2.0

public import Values

/// Who makes a request.
public struct UserInfo: Sendable, Hashable {
    public var name: String
    public var uid: String
    public var groups: [String]
    /// What authentication found out besides, such as the pod that a token belongs to.
    public var extra: [String: [String]]

    public init(_ name: String, uid: String = "", groups: [String] = [], extra: [String: [String]] = [:]) {
        self.name = name
        self.uid = uid
        self.groups = groups
        self.extra = extra
    }

    static let anonymous = UserInfo("system:anonymous", groups: [Group.unauthenticated])

    enum Group {
        static let masters = "system:masters"
        static let authenticated = "system:authenticated"
        static let unauthenticated = "system:unauthenticated"
        static let serviceAccounts = "system:serviceaccounts"
        static let nodes = "system:nodes"
    }

    var isMaster: Bool { groups.contains(Group.masters) }

    /// As `TokenReview` and `SelfSubjectReview` show it.
    public var json: JSON {
        var json: JSON = ["username": JSON(name), "groups": JSON(groups)]
        if !uid.isEmpty { json["uid"] = JSON(uid) }
        if !extra.isEmpty {
            json["extra"] = .object(JSONObject(extra.sorted { $0.key < $1.key }.map { ($0.key, JSON($0.value)) }))
        }
        return json
    }

    /// A service account's user name: `system:serviceaccount:NAMESPACE:NAME`.
    static func serviceAccountName(_ namespace: String, _ name: String) -> String {
        "system:serviceaccount:\(namespace):\(name)"
    }
}
