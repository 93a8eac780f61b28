// SPDX-License-Identifier: Apache-2.0

public import Values

/// The error object that a plugin prints instead of a result.
public struct CNIError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The codes that the specification reserves (1 to 99), and those of the plugin (100 and up).
    public struct Code: Sendable, Hashable, RawRepresentable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }

        public static let incompatibleVersion = Code(rawValue: 1)
        public static let unsupportedField = Code(rawValue: 2)
        public static let unknownContainer = Code(rawValue: 3)
        public static let invalidEnvironment = Code(rawValue: 4)
        public static let inputOutput = Code(rawValue: 5)
        public static let undecodable = Code(rawValue: 6)
        public static let invalidConfiguration = Code(rawValue: 7)
        /// The runtime should try again later.
        public static let tryAgainLater = Code(rawValue: 11)
        /// STATUS: the plugin cannot serve ADD requests.
        public static let notAvailable = Code(rawValue: 50)
        /// STATUS: as `notAvailable`, and containers that exist may have limited connectivity.
        public static let limitedConnectivity = Code(rawValue: 51)
        /// Anything else that went wrong in the plugin.
        public static let plugin = Code(rawValue: 100)
    }

    public var code: Code
    public var message: String
    public var details: String

    public init(_ code: Code, _ message: String, details: String = "") {
        self.code = code
        self.message = message
        self.details = details
    }

    public var description: String { details.isEmpty ? message : "\(message); \(details)" }

    /// As printed, in the version that the configuration asked for.
    public func json(version: String = CNIVersion.newest.rawValue) -> JSON {
        var json: JSON = ["cniVersion": JSON(version), "code": JSON(code.rawValue), "msg": JSON(message)]
        if !details.isEmpty { json["details"] = JSON(details) }
        return json
    }

    /// Nil unless `json` has a code and a message.
    public init?(_ json: JSON) {
        guard let code = json["code"].int, let message = json["msg"].string else { return nil }
        self.init(Code(rawValue: code), message, details: json["details"].string ?? "")
    }
}
