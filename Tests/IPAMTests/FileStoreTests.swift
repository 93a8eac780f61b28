// SPDX-License-Identifier: Apache-2.0

import KubeClientTesting
import Glibc
import IPAM
import KubeObjects
import Linux
import NetworkModel
import Testing
import Values

@Suite struct FileStoreTests {
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/catbird-ipam-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { try? Files.removeTree(folder) }
        try await body(folder)
    }

    private func book(_ folder: String) -> AddressBook {
        let given = IPAMObjects(
            pools: [Sample.pool("local", "10.9.0.0/26", blockSize: 29)], nodes: [Sample.node("here")])
        return AddressBook(store: FileStore(folder, given: given), node: "here")
    }

    @Test func addressesOutliveTheProcess() async throws {
        try await withFolder { folder in
            let first = try await book(folder).assign(AddressBookTests.request("one", node: "here"))
            let again = try await book(folder).assign(AddressBookTests.request("one", node: "here"))
            #expect(again.address == first.address)
            #expect(!again.isNew)
            let other = try await book(folder).assign(AddressBookTests.request("two", node: "here"))
            #expect(other.address != first.address)
            #expect(try await book(folder).release(handleIDs: ["net.one"]) == [first.address])
            #expect(try await book(folder).release(handleIDs: ["net.one"]) == [])
            #expect(try Files.list("\(folder)/ipamhandles").map(\.name) == ["net.two.json"])
        }
    }

    @Test func manyStoresOverOneFolderWaitForEachOther() async throws {
        try await withFolder { folder in
            let addresses = try await withThrowingTaskGroup(of: IPAddress.self) { group in
                for index in 0..<16 {
                    group.addTask {
                        try await book(folder).assign(AddressBookTests.request("p\(index)", node: "here")).address
                    }
                }
                return try await group.reduce(into: [IPAddress]()) { $0.append($1) }
            }
            #expect(Set(addresses).count == 16)
        }
    }

    @Test func aDamagedFileIsNamed() async throws {
        try await withFolder { folder in
            _ = try await book(folder).assign(AddressBookTests.request("one", node: "here"))
            let path = "\(folder)/ipamhandles/net.one.json"
            try Files.replace(path, with: Array("{".utf8))
            let error = await #expect(throws: FileStore.Damage.self) {
                try await book(folder).assign(AddressBookTests.request("two", node: "here"))
            }
            #expect(error?.description.contains(path) == true)
        }
    }
}
