// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPServing
import Testing

@Suite struct FileFolderTests {
    private static func with(_ body: (String) async throws -> Void) async throws {
        let top = "/tmp/file-folder-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let root = "\(top)/log"
        mkdir(top, 0o700)
        mkdir(root, 0o700)
        mkdir("\(root)/pods", 0o700)
        for (name, text) in [("log/a.log", "one\ntwo\n"), ("log/pods/b.log", "b"), ("secret", "secret")] {
            let file = try #require(fopen("\(top)/\(name)", "w"))
            fputs(text, file)
            fclose(file)
        }
        symlink("pods/b.log", "\(root)/inside")
        symlink("../secret", "\(root)/outside")
        symlink("/etc", "\(root)/etc")
        symlink("..", "\(root)/pods/up")
        mkfifo("\(root)/pipe", 0o600)
        defer {
            for name in [
                "log/a.log", "log/pods/b.log", "log/pods/up", "log/inside", "log/outside", "log/etc", "log/pipe",
                "secret",
            ] { unlink("\(top)/\(name)") }
            for name in ["/log/pods", "/log", ""] { rmdir(top + name) }
        }
        try await body(root)
    }

    private static func text(_ found: FileFolder.Found) async throws -> String {
        switch found {
        case .nothing: return "nothing"
        case .redirect(let target): return "to \(target)"
        case .listing(let page): return page
        case .file(let file):
            var bytes: [UInt8] = []
            try await file.read { bytes += $0 }
            #expect(bytes.count == file.size)
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test func filesAndFoldersAreShownAndNothingElse() async throws {
        try await Self.with { root in
            let folder = FileFolder(root: root)
            for (path, expected) in [
                ("/logs/a.log", "one\ntwo\n"), ("/logs/pods/b.log", "b"), ("/logs/inside", "b"),
                ("/logs/pods/up/a.log", "one\ntwo\n"), ("/logs", "to logs/"), ("/logs/pods", "to pods/"),
                ("/logs/none", "nothing"), ("/logs/outside", "nothing"), ("/logs/etc/passwd", "nothing"),
                ("/logs/etc/", "nothing"), ("/logs/../secret", "nothing"), ("/logs/pods/up/../../secret", "nothing"),
                ("/logs/pods/../../secret", "nothing"), ("/logs/pipe", "nothing"), ("/logs/a.log/", "one\ntwo\n"),
            ] {
                #expect(try await Self.text(folder.look(path, below: "/logs")) == expected, "\(path)")
            }
            let page = try await Self.text(folder.look("/logs/", below: "/logs"))
            #expect(page.contains("<a href=\"pods/\">pods/</a>\n"))
            #expect(page.contains("<a href=\"a.log\">a.log</a>\n"))
            // A name that is no text stands in the list and leads nowhere.
            let alien: [CChar] = Array(root.utf8CString.dropLast()) + [0x2F, 0x62, -1, 0]
            close(open(alien, O_WRONLY | O_CREAT, 0o600))
            defer { unlink(alien) }
            let second = try await Self.text(folder.look("/logs/", below: "/logs"))
            #expect(second.contains("\nb\u{FFFD}\n"))
            #expect(second.contains("<a href=\"a.log\">a.log</a>\n"))
        }
    }
}
