// SPDX-License-Identifier: Apache-2.0

public import Values

/// What BIRD's control socket answers to `show protocols`.
public struct BIRDStatus: Sendable, Hashable {
    public struct Peer: Sendable, Hashable {
        public let address: IPAddress
        public let kind: BGPSession.Kind
        /// `up`, `start`, `down`.
        public let state: String
        public let since: String
        /// `Established`, `Active        Socket: Connection refused`.
        public let info: String

        /// ``since`` without the parts of a second.
        public var time: String { String(since.prefix { $0 != "." }) }
    }

    public let peers: [Peer]

    /// From the reply's lines: a code of four digits, then `-` or a space, then the text; a line that goes on begins with
    /// a space (BIRD 2's client protocol). What is no session of Calico's names is passed over.
    public init(reply: String) {
        var peers: [Peer] = []
        for line in reply.split(whereSeparator: \.isNewline) {
            var text = Substring(line)
            if text.count >= 5, text.prefix(4).allSatisfy(\.isNumber) {
                text = text.dropFirst(5)
            } else if text.first == " " {
                text = text.dropFirst()
            } else {
                continue
            }
            let fields = text.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count >= 5, fields[1] == "BGP", let (kind, address) = Self.decode(fields[0]) else { continue }
            var info = fields.count > 5 ? fields[5].drop { $0 == " " } : ""
            while info.last == " " { info.removeLast() }
            peers.append(
                Peer(
                    address: address, kind: kind, state: String(fields[3]), since: String(fields[4]),
                    info: String(info)))
        }
        self.peers = peers
    }

    /// An address as part of a name: `172_30_0_3`, `fd00__1`.
    static func encode(_ address: IPAddress) -> String {
        String("\(address)".map { $0 == "." || $0 == ":" ? "_" : $0 })
    }

    private static func decode(_ name: some StringProtocol) -> (BGPSession.Kind, IPAddress)? {
        guard let end = name.firstIndex(of: "_"), let kind = BGPSession.Kind(rawValue: String(name[..<end])) else {
            return nil
        }
        let rest = name[name.index(after: end)...]
        for separator in [".", ":"] {
            let text = String(rest.map { $0 == "_" ? Character(separator) : $0 })
            if let address = IPAddress(text) { return (kind, address) }
        }
        return nil
    }
}
