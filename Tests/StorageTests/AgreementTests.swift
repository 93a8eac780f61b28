// SPDX-License-Identifier: Apache-2.0

import Storage
import Testing

/// The same random operations on both stores give the same answers, also after the file was closed and opened again.
@Suite(.timeLimit(.minutes(2))) struct AgreementTests {
    private enum Answer: Equatable {
        case value(KeyValue?)
        case range(RangeResult)
        case put(PutResult)
        case deletion(DeleteResult)
        case events([StoreEvent])
        case done
        case failed(StorageError)
    }

    private enum Operation {
        case get(String, at: Int64?)
        case range(String, from: String?, limit: Int?, at: Int64?)
        case put(String, [UInt8], expecting: Int64?)
        case delete(String, expecting: Int64?)
        case watch(String, after: Int64, count: Int)
        case compact(Int64)
    }

    private static func perform(_ operation: Operation, on store: any Backend) async -> Answer {
        do {
            switch operation {
            case .get(let key, let revision): return .value(try await store.get(key, at: revision))
            case .range(let prefix, let start, let limit, let revision):
                return .range(try await store.range(prefix: prefix, from: start, limit: limit, at: revision))
            case .put(let key, let value, let expecting):
                return .put(try await store.put(key, value, expecting: expecting))
            case .delete(let key, let expecting): return .deletion(try await store.delete(key, expecting: expecting))
            case .watch(let prefix, let revision, let count):
                let watch = try await store.watch(prefix: prefix, after: revision)
                return .events(try await take(count, from: watch))
            case .compact(let revision):
                try await store.compact(to: revision)
                return .done
            }
        } catch let error as StorageError {
            return .failed(error)
        } catch {
            return .failed(.unavailable("\(error)"))
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func bothStoresAnswerAlike(seed: UInt64) async throws {
        var random = SplitMix(state: seed)
        let folder = ScratchFolder()
        let memory = MemoryBackend()
        var sqlite = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
        let keys = ["/", "/a", "/a/", "/a/x", "/a/y", "/a/y/z", "/b/x", "/b", "/\u{E9}", "/e\u{301}"]
        let prefixes = ["", "/", "/a", "/a/", "/b", "/c", "/\u{E9}"]
        for step in 0..<600 {
            let current = memory.currentRevision
            let key = keys.randomElement(using: &random) ?? ""
            let prefix = prefixes.randomElement(using: &random) ?? ""
            let past: Int64? = Bool.random(using: &random) ? nil : Int64.random(in: 0...current + 2, using: &random)
            var expecting: Int64? = nil
            switch Int.random(in: 0..<4, using: &random) {
            case 0: expecting = 0
            case 1: expecting = try await memory.get(key)?.modRevision
            case 2: expecting = Int64.random(in: 0...current, using: &random)
            default: break
            }
            let operation: Operation
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<40:
                let value = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                operation = .put(key, value, expecting: expecting)
            case 40..<55: operation = .delete(key, expecting: expecting)
            case 55..<65: operation = .get(key, at: past)
            case 65..<85:
                operation = .range(
                    prefix, from: Bool.random(using: &random) ? keys.randomElement(using: &random) : nil,
                    limit: Bool.random(using: &random) ? Int.random(in: 0..<5, using: &random) : nil, at: past)
            case 85..<95:
                // As many events as there are, since more would be waited for.
                let after = past ?? current
                let all = (try? await memory.watch(prefix: prefix, after: after)).map { _ in after }
                var count = 0
                if all != nil, after < current {
                    for revision in (after + 1)...current {
                        let before = try? await memory.range(prefix: prefix, from: nil, limit: nil, at: revision - 1)
                        let now = try? await memory.range(prefix: prefix, from: nil, limit: nil, at: revision)
                        if let before, let now, before.keyValues != now.keyValues { count += 1 }
                    }
                }
                operation = .watch(prefix, after: after, count: count)
            case 95..<98: operation = .compact(Int64.random(in: 0...current + 1, using: &random))
            default:
                await sqlite.close()
                sqlite = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
                continue
            }
            let expected = await Self.perform(operation, on: memory)
            let actual = await Self.perform(operation, on: sqlite)
            #expect(actual == expected, "seed \(seed), step \(step): \(operation)")
            guard actual == expected else { return }
        }
        #expect(sqlite.currentRevision == memory.currentRevision)
        await sqlite.close()
    }
}
