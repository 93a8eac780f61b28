// SPDX-License-Identifier: Apache-2.0

import Glibc
import Storage
import Testing

/// Files that were changed by something else than the store.
@Suite struct DamageTests {
    private static func value(_ index: Int) -> [UInt8] { [UInt8](repeating: UInt8(index % 251), count: 6000) }

    /// The files of a store that was killed after `count` writes, each acknowledged.
    private func crashed(_ count: Int, in folder: String) async throws -> (database: [UInt8], log: [UInt8]) {
        let path = "\(folder)/source.db"
        let store = try SQLiteBackend(path: path, retainedRevisions: nil)
        for index in 1...count { _ = try await store.put("/k", Self.value(index), expecting: nil) }
        let files = (read(path), read(path + "-wal"))
        await store.close()
        return files
    }

    @Test func aDamagedLogIsNotOpenedWithoutAWord() async throws {
        let folder = ScratchFolder()
        let (database, log) = try await crashed(12, in: folder.path)
        let whole = WriteAheadLog(log, pageSize: 4096)
        #expect(whole.commits >= 12 && whole.commitsBehindDamage == 0 && whole.damageOffset == nil)
        var random = SplitMix(state: 3)
        // Wherever a bit turns in what is followed by other transactions: in the header, in frames, in pages.
        for round in 0..<60 {
            let offset = round < 10 ? round * 3 : Int.random(in: 32..<log.count / 2, using: &random)
            var damaged = log
            damaged[offset] ^= 0x10
            let path = "\(folder.path)/damaged-\(round).db"
            write(database, to: path)
            write(damaged, to: path + "-wal")
            let refused = #expect(throws: StorageError.self, "byte \(offset)") { try SQLiteBackend(path: path) }
            #expect(refused?.description.contains("\(path)-wal is damaged at byte") == true, "\(refused as Any)")
            #expect(throws: StoreDamage.self) { try StoreFile(path: path).examine() }
            // Nothing was changed by looking.
            #expect(read(path + "-wal") == damaged && read(path) == database)
            if offset > 32 + 24 {
                let health = try StoreFile(path: path).examine(acceptingLoss: true)
                #expect(health.remark?.contains("behind the damage are lost") == true)
                #expect(health.revision < 13)
                let store = try SQLiteBackend(path: path)
                #expect(store.currentRevision == max(1, health.revision))
                await store.close()
            }
        }
    }

    /// As a loss of power leaves it: the last transaction by half, its end before its beginning.
    @Test func aTornLastTransactionIsLeftOutWithAWord() async throws {
        let folder = ScratchFolder()
        let (database, log) = try await crashed(6, in: folder.path)
        var torn = log
        let frame = 4096 + 24
        let last = log.count - frame
        torn[last - frame + 100] ^= 1
        let path = "\(folder.path)/torn.db"
        write(database, to: path)
        write(torn, to: path + "-wal")
        let health = try StoreFile(path: path).examine()
        #expect(health.remark?.contains("was not written whole") == true, "\(health)")
        #expect(health.revision == 6)
        // The log is in the database now, and what was left out is gone.
        #expect(read(path + "-wal").isEmpty)
        #expect(try StoreFile(path: path).examine().remark == nil)
    }

    @Test func framesOfAnOlderLogMeanNothing() async throws {
        let folder = ScratchFolder()
        let path = folder.database
        let store = try SQLiteBackend(path: path, retainedRevisions: nil)
        // More than a log grows to: SQLite begins again at its start, over what was there.
        for index in 1...700 { _ = try await store.put("/k\(index % 3)", Self.value(index), expecting: nil) }
        let log = WriteAheadLog(read(path + "-wal"), pageSize: 4096)
        #expect(log.commitsBehindDamage == 0)
        await store.close()
    }

    @Test func everyPageOfTheDatabaseIsLookedAt() async throws {
        let folder = ScratchFolder()
        let path = folder.database
        let store = try SQLiteBackend(path: path, retainedRevisions: nil)
        for index in 1...50 { _ = try await store.put("/k\(index)", Self.value(index), expecting: nil) }
        await store.close()
        #expect(try StoreFile(path: path).examine().revision == 51)
        let whole = read(path)
        // The first bytes of a page of a tree say what kind of page it is.
        for page in [1, 2, 3] {
            var damaged = whole
            for offset in 0..<16 { damaged[page * 4096 + offset] = 0xEE }
            write(damaged, to: path)
            let error = #expect(throws: StoreDamage.self, "page \(page)") { try StoreFile(path: path).examine() }
            #expect(error?.path == path && error?.isUsable == false)
        }
        write(Array(repeating: UInt8(ascii: "x"), count: 9000), to: path)
        #expect(throws: StoreDamage.self) { try StoreFile(path: path).examine() }
    }

    /// Turned over within a value, where no page of the database looks any different.
    @Test func valuesOfTheAPIAreRead() async throws {
        let folder = ScratchFolder()
        let path = folder.database
        let store = try SQLiteBackend(path: path, retainedRevisions: nil)
        let text = #"{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"words":"here"}}"#
        _ = try await store.put("/registry/core/configmaps/default/a", bytes(text), expecting: 0)
        _ = try await store.put("/other", bytes("no JSON"), expecting: 0)
        await store.close()
        _ = try StoreFile(path: path).examine()
        var file = read(path)
        let place = try #require(file.indices.first { file[$0...].starts(with: bytes(text)) })
        file[place + 7] = UInt8(ascii: "!")
        write(file, to: path)
        let error = #expect(throws: StoreDamage.self) { try StoreFile(path: path).examine() }
        #expect(error?.reason.contains("/registry/core/configmaps/default/a at revision 2") == true)
        #expect(throws: StoreDamage.self) { try StoreFile(path: path).copy(to: folder.path + "/copy.db") }
    }

    @Test func aCopyIsTakenWhileWritesGoOn() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
        for index in 1...20 { _ = try await store.put("/k\(index)", Self.value(index), expecting: nil) }
        let target = "\(folder.path)/copy.db"
        async let copied = store.backup(to: target)
        for index in 21...40 { _ = try await store.put("/k\(index)", Self.value(index), expecting: nil) }
        let revision = try await copied
        #expect((21...41).contains(revision))
        #expect(try await store.backup(to: target) == 41)
        await store.close()
        var info = stat()
        #expect(stat(target, &info) == 0 && info.st_mode & 0o777 == 0o600)
        #expect(ScratchFolder.names(in: folder.path).filter { $0.hasPrefix("copy") } == ["copy.db"])
        let second = try SQLiteBackend(path: target)
        #expect(second.currentRevision == 41)
        #expect(try await second.get("/k17")?.value == Self.value(17))
        await second.close()
    }

    @Test func whatIsOpenIsNotExamined() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database)
        #expect(throws: StorageError.self) { try StoreFile(path: folder.database).examine() }
        await store.close()
        #expect(!StoreFile(path: folder.path + "/none").exists)
    }
}
