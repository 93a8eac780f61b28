// SPDX-License-Identifier: Apache-2.0

/// An event of a watch in JSON.
enum WatchLine {
    static func json(_ type: String, _ object: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(object.count + 40)
        bytes += #"{"type":""#.utf8
        bytes += type.utf8
        bytes += #"","object":"#.utf8
        bytes += object
        bytes += "}\n".utf8
        return bytes
    }
}
