// SPDX-License-Identifier: Apache-2.0
import Values

extension NetlinkMessage {
    /// A message to a part of the packet filter (`struct nfgenmsg` behind the head, linux/netfilter/nfnetlink.h).
    static func netfilter(subsystem: Int, _ kind: Int, _ family: IPFamily, flags: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: subsystem << 8 | kind, flags: flags)
        message.append(family == .v4 ? UInt8(2) : UInt8(10))
        message.append(UInt8(0))
        message.append(UInt16(0))
        return message
    }
}
