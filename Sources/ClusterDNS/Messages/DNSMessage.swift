// SPDX-License-Identifier: Apache-2.0

public import Values

/// Record types that the cluster zone knows (RFC 1035, 2782, 3596, 6891).
public enum RecordType {
    public static let a: UInt16 = 1
    public static let ns: UInt16 = 2
    public static let cname: UInt16 = 5
    public static let soa: UInt16 = 6
    public static let ptr: UInt16 = 12
    public static let txt: UInt16 = 16
    public static let aaaa: UInt16 = 28
    public static let srv: UInt16 = 33
    public static let opt: UInt16 = 41
    public static let any: UInt16 = 255
}

/// Response codes (RFC 1035 section 4.1.1).
public enum ResponseCode: UInt8, Sendable {
    case noError = 0
    case formatError = 1
    case serverFailure = 2
    case nameError = 3
    case notImplemented = 4
    case refused = 5
}

public struct Question: Sendable, Hashable {
    public let name: DNSName
    public let type: UInt16
    public let recordClass: UInt16

    public init(_ name: DNSName, _ type: UInt16, recordClass: UInt16 = 1) {
        self.name = name
        self.type = type
        self.recordClass = recordClass
    }
}

/// A question as it came from a client.
public struct Query: Sendable {
    public let id: UInt16
    /// Bits 1 to 15 of the second word of the header.
    public let flags: UInt16
    public let question: Question
    /// What the client can take in one datagram: 512 unless it says more (RFC 6891 section 6.2.3).
    public let payloadSize: Int
    public let hasEDNS: Bool
    public var opcode: UInt8 { UInt8(truncatingIfNeeded: flags >> 11 & 15) }
    public var recursionDesired: Bool { flags & 0x0100 != 0 }

    /// Reads a query with one question. What follows it is only searched for an OPT record.
    public init(parsing bytes: [UInt8]) throws(DNSFormatError) {
        var reader = ByteReader(bytes)
        do {
            id = try reader.bigEndian()
            flags = try reader.bigEndian()
            let questions: UInt16 = try reader.bigEndian()
            let counts: [UInt16] = [try reader.bigEndian(), try reader.bigEndian(), try reader.bigEndian()]
            guard flags & 0x8000 == 0 else { throw DNSFormatError("an answer where a question is expected") }
            guard questions == 1 else { throw DNSFormatError("\(questions) questions in one message") }
            let name = try reader.name()
            question = Question(name, try reader.bigEndian(), recordClass: try reader.bigEndian())
            var size = 512
            var edns = false
            for _ in 0..<counts.reduce(0, { $0 + Int($1) }) {
                _ = try reader.name()
                let type: UInt16 = try reader.bigEndian()
                let recordClass: UInt16 = try reader.bigEndian()
                try reader.skip(4)
                let length: UInt16 = try reader.bigEndian()
                try reader.skip(Int(length))
                if type == RecordType.opt {
                    size = min(max(512, Int(recordClass)), 4096)
                    edns = true
                }
            }
            payloadSize = size
            hasEDNS = edns
        } catch let error as DNSFormatError { throw error } catch { throw DNSFormatError("a message cut short") }
    }
}

/// What a record says.
public enum RecordData: Sendable, Hashable {
    case address(IPAddress)
    case name(RecordType.Naming, DNSName)
    case service(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    case text([String])
    case authority(primary: DNSName, mailbox: DNSName, serial: UInt32, minimum: UInt32)

    var type: UInt16 {
        switch self {
        case .address(let address): address.family == .v4 ? RecordType.a : RecordType.aaaa
        case .name(let kind, _): kind.rawValue
        case .service: RecordType.srv
        case .text: RecordType.txt
        case .authority: RecordType.soa
        }
    }
}

extension RecordType {
    /// Types whose data is one name.
    public enum Naming: UInt16, Sendable {
        case ns = 2
        case cname = 5
        case ptr = 12
    }
}

public struct Record: Sendable, Hashable {
    public let name: DNSName
    public let ttl: UInt32
    public let data: RecordData

    public init(_ name: DNSName, ttl: UInt32, _ data: RecordData) {
        self.name = name
        self.ttl = ttl
        self.data = data
    }
}

/// What a zone has to say to a question.
public struct Answer: Sendable, Hashable {
    public var code: ResponseCode
    public var isAuthoritative: Bool
    public var answers: [Record]
    public var authority: [Record]
    public var additional: [Record]
    /// What the last alias leads to outside of the zone, to be asked upstream.
    public var pending: Question?

    public init(
        _ code: ResponseCode = .noError, isAuthoritative: Bool = true, answers: [Record] = [], authority: [Record] = [],
        additional: [Record] = []
    ) {
        self.code = code
        self.isAuthoritative = isAuthoritative
        self.answers = answers
        self.authority = authority
        self.additional = additional
    }
}
