// SPDX-License-Identifier: Apache-2.0

import APIServer
import PKI
public import Storage

/// A store in memory that holds what every server makes at its first start: namespaces, roles, definitions.
///
/// Making that takes longer than most tests. It is made once a process, by a real server; each test has a copy.
public enum BootstrappedStorage {
    private static let made = Task {
        let storage = MemoryBackend()
        let server = APIServer(
            storage: storage, configuration: APIServerConfiguration(tokenSigner: .create(), compactionInterval: nil))
        try await server.bootstrap()
        server.stop()
        return storage
    }

    public static func copy() async throws -> MemoryBackend { MemoryBackend(copying: try await made.value) }
}
