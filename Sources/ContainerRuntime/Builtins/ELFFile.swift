// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Values

/// What a program or library says about what it loads: the dynamic section of a 64-bit little-endian ELF file.
struct ELFFile: Sendable, Hashable {
    /// The dynamic loader; nil for static programs and for libraries.
    var interpreter: String?
    /// Names of libraries (DT_NEEDED).
    var needed: [String] = []
    /// Where they are searched first (DT_RPATH and DT_RUNPATH), `$ORIGIN` not yet replaced.
    var searchPaths: [String] = []

    /// Throws for anything that is not such a file.
    init(_ path: String) throws {
        let file = try FileDescriptor.open(path)
        func read(_ offset: UInt64, _ count: Int) throws -> ByteReader {
            guard let start = off_t(exactly: offset), (0...(16 << 20)).contains(count) else {
                throw Self.malformed(path)
            }
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { space, filled in
                filled = max(0, pread(file.rawValue, space.baseAddress, count, start))
            }
            guard bytes.count == count else { throw Self.malformed(path) }
            return ByteReader(bytes)
        }
        var header = try read(0, 64)
        guard try Array(header.read(6)) == [0x7F, 0x45, 0x4C, 0x46, 2, 1] else { throw Self.malformed(path) }
        try header.seek(to: 32)
        let programHeaders = try header.littleEndian(UInt64.self)
        try header.seek(to: 54)
        let entrySize = Int(try header.littleEndian(UInt16.self))
        let entryCount = Int(try header.littleEndian(UInt16.self))
        guard entrySize >= 56 else { throw Self.malformed(path) }
        var table = try read(programHeaders, entrySize * entryCount)
        var segments: [(offset: UInt64, address: UInt64, size: UInt64)] = []
        var dynamic: (offset: UInt64, size: UInt64)?
        for index in 0..<entryCount {
            try table.seek(to: index * entrySize)
            let type = try table.littleEndian(UInt32.self)
            try table.skip(4)
            let offset = try table.littleEndian(UInt64.self)
            let address = try table.littleEndian(UInt64.self)
            try table.skip(8)
            let size = try table.littleEndian(UInt64.self)
            switch type {
            case 1: segments.append((offset, address, size))
            case 2: dynamic = (offset, size)
            case 3:
                var text = try read(offset, Int(clamping: min(size, 4096)))
                interpreter = String(decoding: try text.read(text.remaining).prefix { $0 != 0 }, as: UTF8.self)
            default: break
            }
        }
        guard let dynamic else { return }
        var entries = try read(dynamic.offset, Int(clamping: min(dynamic.size, 1 << 20)))
        var names: [(tag: UInt64, value: UInt64)] = []
        var strings: UInt64 = 0
        var stringsSize: UInt64 = 0
        while entries.remaining >= 16 {
            let tag = try entries.littleEndian(UInt64.self)
            let value = try entries.littleEndian(UInt64.self)
            switch tag {
            case 0: try entries.skip(entries.remaining)
            case 1, 15, 29: names.append((tag, value))
            case 5: strings = value
            case 10: stringsSize = value
            default: break
            }
        }
        guard
            let segment = segments.first(where: { strings >= $0.address && strings - $0.address < $0.size }),
            !names.isEmpty
        else { return }
        let (offset, overflow) = segment.offset.addingReportingOverflow(strings - segment.address)
        guard !overflow else { throw Self.malformed(path) }
        var pool = try read(offset, Int(clamping: min(stringsSize, 16 << 20)))
        let bytes = Array(try pool.read(pool.remaining))
        for (tag, value) in names {
            guard value < UInt64(bytes.count) else { throw Self.malformed(path) }
            let text = String(decoding: bytes[Int(value)...].prefix { $0 != 0 }, as: UTF8.self)
            if tag == 1 { needed.append(text) } else { searchPaths += text.split(separator: ":").map(String.init) }
        }
    }

    private static func malformed(_ path: String) -> ImageError {
        ImageError(.other, "\(path) is not a program that can be put into an image (no 64-bit ELF file)")
    }
}

/// Finds what the dynamic loader would load for programs.
struct LibraryClosure {
    /// Libraries by the name that programs ask for.
    private(set) var libraries: [String: String] = [:]
    private(set) var interpreters: Set<String> = []
    private let systemFolders: [String]

    init(environment: [String: String] = ProcessSpawner.ownEnvironment) {
        let own = (environment["LD_LIBRARY_PATH"] ?? "").split(separator: ":").map(String.init)
        systemFolders = own + Self.configuredFolders("/etc/ld.so.conf", depth: 0) + Self.standardFolders
    }

    private static var standardFolders: [String] {
        #if arch(x86_64)
        let triple = "x86_64-linux-gnu"
        #elseif arch(arm64)
        let triple = "aarch64-linux-gnu"
        #else
        let triple = "riscv64-linux-gnu"
        #endif
        return ["/lib/\(triple)", "/usr/lib/\(triple)", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    }

    private static func configuredFolders(_ file: String, depth: Int) -> [String] {
        guard depth < 4, let text = try? Files.text(file) else { return [] }
        var result: [String] = []
        for line in text.split(separator: "\n") {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).map(String.init)
            guard let first = words.first else { continue }
            guard first == "include" else {
                result.append(first)
                continue
            }
            for pattern in words.dropFirst() where pattern.hasSuffix("/*.conf") {
                let folder = String(pattern.dropLast(7))
                for entry in (try? Files.list(folder)) ?? [] where entry.name.hasSuffix(".conf") {
                    result += configuredFolders("\(folder)/\(entry.name)", depth: depth + 1)
                }
            }
        }
        return result
    }

    /// Adds a program with all that it needs.
    mutating func add(program: String) throws {
        var waiting = [program]
        var rpaths: [String] = []
        while let path = waiting.popLast() {
            let file = try ELFFile(path)
            if let interpreter = file.interpreter { interpreters.insert(interpreter) }
            let origin = Files.directory(of: path)
            for folder in file.searchPaths {
                let text = folder.replacing("${ORIGIN}", with: origin).replacing("$ORIGIN", with: origin)
                if !rpaths.contains(text) { rpaths.append(text) }
            }
            for name in file.needed
            where libraries[name] == nil && !interpreters.contains(where: { $0.hasSuffix("/" + name) }) {
                guard
                    let found = (rpaths + systemFolders).map({ "\($0)/\(name)" }).first(where: {
                        (try? ELFFile($0)) != nil
                    })
                else {
                    throw ImageError(.other, "the library \(name), which \(path) needs, is not on this machine")
                }
                libraries[name] = found
                waiting.append(found)
            }
        }
    }
}
