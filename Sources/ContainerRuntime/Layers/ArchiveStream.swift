// SPDX-License-Identifier: Apache-2.0

import CArchive
import Crypto
import Glibc
import Linux

/// A file, decompressed as it is read (gzip, zstd, xz, bzip2 or none), with the digest of what came out.
///
/// Used by one thread at a time.
final class DecompressedFile {
    private let handle: OpaquePointer
    private(set) var hash = SHA256()
    private(set) var byteCount = 0
    private let path: String
    private var ended = false

    init(_ path: String) throws {
        self.path = path
        guard let handle = archive_read_new() else { throw ImageError(.other, "libarchive: out of memory") }
        self.handle = handle
        // Each by name: some of libarchive's other filters start a program of that name.
        archive_read_support_filter_gzip(handle)
        archive_read_support_filter_zstd(handle)
        archive_read_support_filter_xz(handle)
        archive_read_support_filter_bzip2(handle)
        archive_read_support_format_raw(handle)
        archive_read_support_format_empty(handle)
        guard archive_read_open_filename(handle, path, 1 << 17) == ARCHIVE_OK else {
            throw Self.failure(handle, path)
        }
        var entry: OpaquePointer?
        switch archive_read_next_header(handle, &entry) {
        case ARCHIVE_OK: break
        case ARCHIVE_EOF: ended = true
        default: throw Self.failure(handle, path)
        }
    }

    deinit { archive_read_free(handle) }

    static func failure(_ handle: OpaquePointer, _ what: String) -> any Error {
        let code = archive_errno(handle)
        let text = archive_error_string(handle).map { String(cString: $0) } ?? "unknown error"
        if code == ENOSPC { return Errno(code: ENOSPC, call: "read", detail: what) }
        return ArchiveDamage(reason: text)
    }

    /// Fills the buffer as far as one read does; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if ended { return 0 }
        let count = archive_read_data(handle, buffer.baseAddress, buffer.count)
        guard count >= 0 else { throw Self.failure(handle, path) }
        if count == 0 { ended = true }
        hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        byteCount += count
        return count
    }

    /// Reads what is left, for the digest.
    func drain(limit: Int) throws {
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)
        defer { space.deallocate() }
        while try read(into: space) > 0 {
            guard byteCount <= limit else { throw ArchiveDamage(reason: "more than \(limit) bytes") }
        }
    }
}

/// The archive is damaged, or asks for what no image may: the caller says which image it was.
struct ArchiveDamage: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }
}

/// The entries of a tar stream.
final class TarReader {
    /// What libarchive's callback needs; it lives as long as the handle.
    private final class Source {
        let file: DecompressedFile
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)
        var failure: (any Error)?
        init(_ file: DecompressedFile) { self.file = file }
        deinit { space.deallocate() }
    }

    private let handle: OpaquePointer
    private let source: Source

    init(_ file: DecompressedFile) throws {
        guard let handle = archive_read_new() else { throw ImageError(.other, "libarchive: out of memory") }
        self.handle = handle
        source = Source(file)
        archive_read_support_format_tar(handle)
        archive_read_support_format_gnutar(handle)
        archive_read_support_format_empty(handle)
        let result = archive_read_open(
            handle, Unmanaged.passUnretained(source).toOpaque(), nil,
            { handle, data, block in
                guard let data else { return -1 }
                let source = Unmanaged<Source>.fromOpaque(data).takeUnretainedValue()
                do {
                    let count = try source.file.read(into: source.space)
                    block?.pointee = UnsafeRawPointer(source.space.baseAddress)
                    return count
                } catch {
                    source.failure = error
                    return -1
                }
            }, nil)
        guard result == ARCHIVE_OK else { throw failure() }
    }

    deinit { archive_read_free(handle) }

    private func failure() -> any Error {
        source.failure ?? DecompressedFile.failure(handle, "tar")
    }

    /// The next entry; valid until the next call. Nil at the end.
    func next() throws -> TarEntry? {
        var entry: OpaquePointer?
        switch archive_read_next_header(handle, &entry) {
        case ARCHIVE_OK, ARCHIVE_WARN:
            guard let entry else { throw ArchiveDamage(reason: "an entry without a header") }
            return TarEntry(entry)
        case ARCHIVE_EOF:
            if let failure = source.failure { throw failure }
            return nil
        default: throw failure()
        }
    }

    /// The content of the entry that `next` gave, in pieces with their offsets.
    func data(_ body: (_ offset: Int, _ bytes: UnsafeRawBufferPointer) throws -> Void) throws {
        while true {
            var block: UnsafeRawPointer?
            var size = 0
            var offset: Int64 = 0
            switch archive_read_data_block(handle, &block, &size, &offset) {
            case ARCHIVE_OK, ARCHIVE_WARN:
                try body(Int(offset), UnsafeRawBufferPointer(start: block, count: size))
            case ARCHIVE_EOF: return
            default: throw failure()
            }
        }
    }
}

/// One entry's header.
struct TarEntry {
    private let entry: OpaquePointer
    init(_ entry: OpaquePointer) { self.entry = entry }

    private static func bytes(_ pointer: UnsafePointer<CChar>?) -> [UInt8]? {
        guard let pointer else { return nil }
        return Array(UnsafeRawBufferPointer(start: pointer, count: strlen(pointer)))
    }

    /// UTF-8 as the pax header has it, or the bytes of an old header.
    var path: [UInt8] {
        Self.bytes(archive_entry_pathname_utf8(entry)) ?? Self.bytes(archive_entry_pathname(entry)) ?? []
    }
    var hardLink: [UInt8]? {
        Self.bytes(archive_entry_hardlink_utf8(entry)) ?? Self.bytes(archive_entry_hardlink(entry))
    }
    var symbolicLink: [UInt8]? {
        Self.bytes(archive_entry_symlink_utf8(entry)) ?? Self.bytes(archive_entry_symlink(entry))
    }
    var kind: UInt32 { archive_entry_filetype(entry) }
    var permissions: UInt32 { archive_entry_perm(entry) & 0o7777 }
    var uid: UInt32 { UInt32(clamping: archive_entry_uid(entry)) }
    var gid: UInt32 { UInt32(clamping: archive_entry_gid(entry)) }
    var size: Int { Int(archive_entry_size(entry)) }
    var modified: timespec {
        timespec(tv_sec: Int(archive_entry_mtime(entry)), tv_nsec: Int(archive_entry_mtime_nsec(entry)))
    }

    /// Names and values.
    var extendedAttributes: [(name: String, value: [UInt8])] {
        var result: [(String, [UInt8])] = []
        archive_entry_xattr_reset(entry)
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK {
            guard let name else { continue }
            result.append((String(cString: name), Array(UnsafeRawBufferPointer(start: value, count: size))))
        }
        return result
    }
}
