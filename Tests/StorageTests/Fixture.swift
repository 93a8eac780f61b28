// SPDX-License-Identifier: Apache-2.0

import Glibc
import Storage
import Synchronization

/// A folder that is gone after the test.
struct ScratchFolder: ~Copyable {
    let path: String

    init() {
        path = "/tmp/catbird-storage-\(UInt64.random(in: 0 ... .max))"
        mkdir(path, 0o700)
    }

    var database: String { path + "/state.db" }

    deinit { Self.removeAll(path) }

    static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func removeAll(_ folder: String) {
        for name in names(in: folder) where unlink("\(folder)/\(name)") != 0 { removeAll("\(folder)/\(name)") }
        rmdir(folder)
    }
}

func read(_ path: String) -> [UInt8] {
    let file = open(path, O_RDONLY)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = Glibc.read(file, &chunk, chunk.count)
        guard count > 0 else { return bytes }
        bytes += chunk[..<count]
    }
}

func write(_ bytes: some Sequence<UInt8>, to path: String) {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { return }
    defer { close(file) }
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A small generator, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// The next `count` events, however they are batched.
func take(_ count: Int, from watch: StoreWatch) async throws -> [StoreEvent] {
    var events: [StoreEvent] = []
    guard count > 0 else { return [] }
    for try await batch in watch {
        events += batch
        if events.count >= count { break }
    }
    return events
}

/// A number that two tasks share.
final class Progress: Sendable {
    private let number = Mutex(0)
    var value: Int { number.withLock { $0 } }
    func set(_ value: Int) { number.withLock { $0 = value } }
    func raise(_ value: Int) { number.withLock { $0 = max($0, value) } }
}
