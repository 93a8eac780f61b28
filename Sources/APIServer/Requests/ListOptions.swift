// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a list, a watch or a deletion of a collection asks for in its query, besides selectors.
struct ListOptions: Sendable {
    enum VersionMatch: String { case exact = "Exact", notOlderThan = "NotOlderThan" }

    /// Nil without a limit.
    let limit: Int?
    let continueToken: String?
    /// Nil when unset; 0 for anything there is.
    let resourceVersion: Int64?
    let versionMatch: VersionMatch?
    /// Nil when unset, which means something else than false.
    let sendInitialEvents: Bool?
    let allowsBookmarks: Bool
    /// Nil when unset or zero. Below zero the time is up at once.
    let timeoutSeconds: Int?

    /// Reads and checks the query.
    ///
    /// Source of the rules: Kubernetes' validation of ListOptions, which differs between lists and watches.
    init(_ request: IncomingRequest, isWatch: Bool) throws(StatusError) {
        let limit = try request.number("limit").flatMap { $0 > 0 ? $0 : nil }
        continueToken = request.query("continue").flatMap { $0.isEmpty ? nil : $0 }
        resourceVersion = try Self.resourceVersion(request)
        // Whatever there is comes from memory, whole.
        self.limit = resourceVersion == 0 && continueToken == nil && !isWatch ? nil : limit
        let match = request.query("resourceVersionMatch") ?? ""
        versionMatch = VersionMatch(rawValue: match)
        sendInitialEvents = request.query("sendInitialEvents") == nil ? nil : request.flag("sendInitialEvents")
        allowsBookmarks = request.flag("allowWatchBookmarks")
        timeoutSeconds = try request.number("timeoutSeconds").flatMap { $0 == 0 ? nil : $0 }
        let errors = isWatch ? watchProblems(match) : listProblems(match)
        if !errors.isEmpty { throw .invalid(("meta.k8s.io", "ListOptions"), name: "", errors) }
        if !isWatch, continueToken != nil, let resourceVersion, resourceVersion != 0 {
            throw .badRequest("specifying resource version is not allowed when using continue")
        }
    }

    /// The resourceVersion of the query; nil when it is unset.
    static func resourceVersion(_ request: IncomingRequest) throws(StatusError) -> Int64? {
        guard let text = request.query("resourceVersion"), !text.isEmpty else { return nil }
        guard let version = Int64(text), version >= 0 else {
            throw .badRequest(
                "resourceVersion: Invalid value: \(JSON(text)): strconv.ParseUint: parsing \(JSON(text)): invalid syntax"
            )
        }
        return version
    }

    private static let field = "resourceVersionMatch"

    private func listProblems(_ match: String) -> [FieldError] {
        var errors: [FieldError] = []
        if !match.isEmpty {
            if resourceVersion == nil {
                errors.append(
                    .forbidden(Self.field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            if continueToken != nil {
                errors.append(.forbidden(Self.field, "resourceVersionMatch is forbidden when continue is provided"))
            }
            if versionMatch == nil {
                errors.append(.notSupported(Self.field, JSON(match), ["Exact", "NotOlderThan", ""]))
            }
            if versionMatch == .exact, resourceVersion == 0 {
                errors.append(
                    .forbidden(Self.field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
        }
        if sendInitialEvents != nil {
            errors.append(.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        }
        return errors
    }

    private func watchProblems(_ match: String) -> [FieldError] {
        var errors: [FieldError] = []
        if sendInitialEvents != nil, versionMatch != .notOlderThan {
            errors.append(
                .forbidden(Self.field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
        }
        guard !match.isEmpty else { return errors }
        if sendInitialEvents == nil {
            errors.append(
                .forbidden(
                    Self.field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        }
        if versionMatch != .notOlderThan { errors.append(.notSupported(Self.field, JSON(match), ["NotOlderThan"])) }
        if continueToken != nil {
            errors.append(.forbidden(Self.field, "resourceVersionMatch is forbidden when continue is provided"))
        }
        return errors
    }
}
