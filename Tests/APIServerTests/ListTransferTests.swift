// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Long lists over a real connection: a piece at a time, plain and packed.
@Suite struct ListTransferTests {
    @Test func longListsAreTheSamePlainAndPacked() async throws {
        let fixture = try await HTTPSFixture()
        for number in 0..<300 {
            var map = configMap("m\(100 + number)")
            // Some that pack well, and some that hardly do.
            let random = (0..<150).map { _ in String(UInt64.random(in: 0 ... .max), radix: 36) }
            map["data"] = [
                "text": JSON(number % 3 == 0 ? random.joined() : String(repeating: "word\(number) ", count: 300))
            ]
            _ = try await fixture.client.create(.configMaps, map)
        }
        let bound = try await fixture.kubectl(
            "create", "clusterrolebinding", "all", "--clusterrole=cluster-admin", "--serviceaccount=default:default")
        #expect(bound.status == 0, "\(bound.errors)")
        let token = try await fixture.kubectl("create", "token", "default").text.filter { !$0.isWhitespace }
        let url = "https://127.0.0.1:\(fixture.port)/api/v1/namespaces/default/configmaps"
        func read(_ arguments: String...) async throws -> (size: Int, text: String) {
            let answer = try await fixture.run(
                "curl",
                ["-sk", "-H", "Authorization: Bearer \(token)", "-w", "\n%{size_download}"] + arguments + [url])
            let end = try #require(answer.text.lastIndex(of: "\n"))
            return (Int(answer.text[answer.text.index(after: end)...]) ?? 0, String(answer.text[..<end]))
        }
        let plain = try await read()
        #expect(plain.size == plain.text.utf8.count && plain.size > 500_000)
        let list = try JSON(parsing: plain.text)
        #expect(list["items"].array?.count == 300 && list["kind"].string == "ConfigMapList")
        // The second time from what the objects kept of the first.
        for _ in 0..<2 {
            let packed = try await read("--compressed")
            #expect(packed.text == plain.text)
            #expect(packed.size * 2 < plain.size)
        }
        // A changed object keeps nothing of what it was.
        var changed = try await fixture.client.get(.configMaps, "m101", in: "default")
        changed["data"] = ["text": "new"]
        _ = try await fixture.client.update(.configMaps, changed)
        let after = try JSON(parsing: try await read("--compressed").text)
        #expect(after["items"].array?[1]["data"]["text"] == "new")
        // Readers of the same process get the whole.
        #expect(try await fixture.client.list(.configMaps, in: "default").items.count == 300)
        await fixture.stop()
    }
}
