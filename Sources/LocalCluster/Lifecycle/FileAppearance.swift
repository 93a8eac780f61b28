// SPDX-License-Identifier: Apache-2.0

import Linux

/// Waits until a file is there, told by the kernel.
struct FileAppearance: Sendable {
    private let path: String
    private let inotify: Inotify

    /// Begins to look: a file that appears from now on is not missed.
    init(_ path: String) throws {
        self.path = path
        inotify = try Inotify()
        try inotify.add(Files.directory(of: path))
    }

    func wait() async throws {
        if Files.exists(path) { return }
        for await _ in inotify.events where Files.exists(path) { return }
        try Task.checkCancellation()
    }
}
