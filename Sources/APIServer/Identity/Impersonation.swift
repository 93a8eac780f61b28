// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// `kubectl --as`: who may do it acts as somebody else, from the user's name to what is told besides. Each part asks
    /// for the verb `impersonate` by itself.
    func impersonated(_ user: UserInfo, _ request: IncomingRequest) throws(StatusError) -> UserInfo {
        let name = request.header("impersonate-user") ?? ""
        var groups = request.headerValues("impersonate-group")
        let uid = request.header("impersonate-uid") ?? ""
        var extra: [String: [String]] = [:]
        let prefix = "impersonate-extra-"
        for (header, value) in request.headers where header.lowercased().hasPrefix(prefix) {
            let key = header.dropFirst(prefix.count).lowercased()
            extra[PercentCoding.decoded(key) ?? key, default: []].append(value)
        }
        guard !name.isEmpty else {
            guard groups.isEmpty, uid.isEmpty, extra.isEmpty else {
                throw .badRequest("requested to impersonate groups, a uid or extra without impersonating a user name")
            }
            return user
        }
        let authentication = "authentication.k8s.io"
        let account = Self.serviceAccount(name)
        if let account {
            try authorizer.require(
                user,
                AccessAttributes(
                    verb: "impersonate", resource: "serviceaccounts", namespace: account.namespace, name: account.name))
        } else {
            try authorizer.require(user, AccessAttributes(verb: "impersonate", resource: "users", name: name))
        }
        for group in groups {
            try authorizer.require(user, AccessAttributes(verb: "impersonate", resource: "groups", name: group))
        }
        if !uid.isEmpty {
            try authorizer.require(
                user, AccessAttributes(verb: "impersonate", group: authentication, resource: "uids", name: uid))
        }
        for (key, values) in extra {
            for value in values {
                try authorizer.require(
                    user,
                    AccessAttributes(
                        verb: "impersonate", group: authentication, resource: "userextras", subresource: key,
                        name: value))
            }
        }
        if let account, groups.isEmpty {
            groups = [UserInfo.Group.serviceAccounts, "\(UserInfo.Group.serviceAccounts):\(account.namespace)"]
        }
        let own = name == UserInfo.anonymous.name ? UserInfo.Group.unauthenticated : UserInfo.Group.authenticated
        if !groups.contains(own) { groups.append(own) }
        return UserInfo(name, uid: uid, groups: groups, extra: extra)
    }

    /// The account that a user's name names: `system:serviceaccount:NAMESPACE:NAME`.
    private static func serviceAccount(_ user: String) -> (namespace: String, name: String)? {
        let parts = user.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount", !parts[2].isEmpty, !parts[3].isEmpty
        else { return nil }
        return (String(parts[2]), String(parts[3]))
    }
}
