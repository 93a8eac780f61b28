// SPDX-License-Identifier: Apache-2.0
import CNFTables
import Glibc
public import Values

/// nftables refused a command, or could not be reached.
public struct NFTablesError: Error, Sendable, CustomStringConvertible {
    /// nft's own words, with the place in the command.
    public let message: String
    public let commands: String

    public var description: String {
        "nftables: \(message.isEmpty ? "the command failed without a message" : message)"
    }
}

/// nft's own library, speaking to one network namespace: the one it was made in, whichever thread uses it later.
public struct NFTables: ~Copyable, Sendable {
    /// Libnftables contexts may move between threads but serve one at a time: `mutating` sees to that.
    private struct Context: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    private let context: Context

    /// In the calling thread's network namespace.
    public init() throws {
        context = try Self.make()
    }

    /// In another network namespace.
    public init(in namespace: NamespaceRef) throws {
        context = try Namespaces.inNamespaces(net: namespace) { try Self.make() }
    }

    deinit { nft_ctx_free(context.pointer) }

    private static func make() throws -> Context {
        guard let pointer = nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) else {
            throw NFTablesError(message: "libnftables could not be started: \(Errno.text(errno))", commands: "")
        }
        nft_ctx_buffer_output(pointer)
        nft_ctx_buffer_error(pointer)
        return Context(pointer: pointer)
    }

    /// Runs commands in nft's language as one transaction: all of them take effect, or none.
    ///
    /// - Returns: what listing commands print.
    @discardableResult
    public mutating func run(_ commands: String) throws(NFTablesError) -> String {
        nft_ctx_output_set_flags(context.pointer, 0)
        return try execute(commands)
    }

    private mutating func execute(_ commands: String) throws(NFTablesError) -> String {
        let result = nft_run_cmd_from_buffer(context.pointer, commands)
        let output = nft_ctx_get_output_buffer(context.pointer).map { String(cString: $0) } ?? ""
        let errors = nft_ctx_get_error_buffer(context.pointer).map { String(cString: $0) } ?? ""
        guard result == 0 else {
            throw NFTablesError(
                message: errors.split(separator: "\n").joined(separator: "\n"), commands: commands)
        }
        return output
    }

    /// Runs a listing command and gives the objects of its `nftables` array.
    public mutating func list(_ command: String) throws -> [JSON] {
        nft_ctx_output_set_flags(context.pointer, UInt32(NFT_CTX_OUTPUT_JSON))
        let text = try execute(command)
        if text.isEmpty { return [] }
        return try JSON(parsing: text)["nftables"]?.array ?? []
    }

    /// The names of a family's tables.
    public mutating func tables(family: String? = nil) throws -> [(family: String, name: String)] {
        try list("list tables").compactMap { entry in
            guard let table = entry["table"], let tableFamily = table["family"]?.string,
                let name = table["name"]?.string, family == nil || family == tableFamily
            else { return nil }
            return (tableFamily, name)
        }
    }

    /// Not there is no error.
    public mutating func deleteTable(family: String, name: String) throws(NFTablesError) {
        // Adding what may be there makes the deletion safe, in one transaction.
        try run("add table \(family) \(name)\ndelete table \(family) \(name)\n")
    }
}
