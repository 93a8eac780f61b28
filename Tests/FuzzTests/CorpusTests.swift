// SPDX-License-Identifier: Apache-2.0

import Fuzzing
import FuzzingServices
import Glibc
import Linux
import Testing

/// Every file of `Fuzz/Corpus`, and what becomes of it by a fixed row of small changes, goes through its parser. A parser
/// that traps ends the process: the last test that started names it.
@Suite(.serialized) struct CorpusTests {
    static let corpus = #filePath.replacing("Tests/FuzzTests/CorpusTests.swift", with: "Fuzz/Corpus")

    @Test(arguments: FuzzTarget.pure + FuzzTarget.services) func takesWhateverComes(_ target: FuzzTarget) throws {
        let folder = "\(Self.corpus)/\(target.name)"
        let names = try Files.list(folder).map(\.name).sorted()
        #expect(!names.isEmpty, "\(folder) holds no file")
        // Archives go through the disk: fewer of them.
        let changes = target.name == "image-archive" ? 20 : 200
        for name in names {
            let bytes = try Files.read("\(folder)/\(name)")
            target.run(bytes)
            var mutation = Mutation(seed: UInt64(bytes.count))
            for _ in 0..<changes { target.run(mutation.of(bytes)) }
        }
        target.run([])
    }

    @Test func everyFolderOfTheCorpusHasATarget() throws {
        let folders = try Files.list(Self.corpus).map(\.name).sorted()
        #expect(folders == (FuzzTarget.pure + FuzzTarget.services).map(\.name).sorted())
    }
}

/// Small changes in a fixed order (SplitMix64), so that a find comes again.
private struct Mutation {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    private mutating func next(below bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(max(bound, 1)))
    }

    mutating func of(_ bytes: [UInt8]) -> [UInt8] {
        var result = bytes
        for _ in 0...next(below: 4) {
            let place = next(below: result.count)
            switch next(below: 6) {
            case _ where result.isEmpty: result.append(UInt8(next(below: 256)))
            case 0: result[place] ^= 1 << UInt8(next(below: 8))
            case 1: result[place] = [0, 0x7F, 0x80, 0xFF][next(below: 4)]
            case 2: result.insert(UInt8(next(below: 256)), at: place)
            case 3: result.remove(at: place)
            case 4: result.removeSubrange(place...)
            default: result.insert(contentsOf: result[place..<min(place + next(below: 16), result.count)], at: place)
            }
        }
        return result
    }
}
