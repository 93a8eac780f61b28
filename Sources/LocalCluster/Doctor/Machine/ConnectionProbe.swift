// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Glibc
import Linux
import Values

/// Tries TCP connections from inside a network namespace, all at once.
struct ConnectionProbe: Sendable {
    /// Nil: the machine's own.
    let namespace: NamespaceRef?
    /// A pod of the same node answers at once, or not at all.
    var patience: Duration = .milliseconds(500)

    /// What became of each: 0 for a connection, or the error's number; nothing when there was no answer in time.
    func attempt(_ places: [Listener]) async -> [Listener: Int32] {
        var result: [Listener: Int32] = [:]
        // Each costs a descriptor while it lasts.
        for start in stride(from: 0, to: places.count, by: 128) {
            let part = Array(places[start..<min(start + 128, places.count)])
            let milliseconds =
                Int32(clamping: patience.components.seconds * 1000)
                + Int32(clamping: patience.components.attoseconds / 1_000_000_000_000_000)
            let found = try? await Namespaces.enter(Namespaces.Target(net: namespace)) {
                Self.connect(part, milliseconds)
            }
            result.merge(found ?? [:]) { first, _ in first }
        }
        return result
    }

    private static func connect(_ places: [Listener], _ milliseconds: Int32) -> [Listener: Int32] {
        var result: [Listener: Int32] = [:]
        var waiting: [pollfd] = []
        var asked: [Listener] = []
        defer { for entry in waiting { close(entry.fd) } }
        for place in places {
            guard let address = IPAddress(place.address), address.family == .v4, let port = UInt16(exactly: place.port)
            else { continue }
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            guard fd >= 0 else { continue }
            var target = sockaddr_in()
            target.sin_family = sa_family_t(AF_INET)
            target.sin_port = port.bigEndian
            target.sin_addr.s_addr = address.v4Bits.bigEndian
            let code = withUnsafePointer(to: &target) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 ? 0 : errno
                }
            }
            if code == EINPROGRESS {
                waiting.append(pollfd(fd: fd, events: Int16(POLLOUT), revents: 0))
                asked.append(place)
            } else {
                result[place] = code
                close(fd)
            }
        }
        let end = ContinuousClock.now + .milliseconds(Int(milliseconds))
        while !waiting.isEmpty {
            let left = (end - ContinuousClock.now) / .milliseconds(1)
            guard left > 0, poll(&waiting, nfds_t(waiting.count), Int32(left.rounded(.up))) > 0 else { break }
            for position in waiting.indices.reversed() where waiting[position].revents != 0 {
                var code: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(waiting[position].fd, SOL_SOCKET, SO_ERROR, &code, &length)
                result[asked[position]] = code
                close(waiting[position].fd)
                waiting.remove(at: position)
                asked.remove(at: position)
            }
        }
        return result
    }
}
