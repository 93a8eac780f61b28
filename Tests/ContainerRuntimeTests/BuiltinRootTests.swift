// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Testing
import Values

/// What built-in images carry works, tried in containers. Busybox plays catbird's part; catbird's own programs are
/// tried by the tests of clusters.
@Suite(.enabled(if: geteuid() == 0), .serialized) struct BuiltinRootTests {
    /// Runs a script in a container of a built-in image, and returns its output and exit code.
    private func run(
        _ image: String, _ script: String, environment: [(String, String)] = [],
        while body: (@Sendable () async throws -> Void)? = nil
    ) async throws -> (code: Int?, log: [String]) {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let local = try #require(fixture.images.image(image))
        let id = try await runtime.createContainer(
            fixture.container(script) { spec in
                spec.image = local
                spec.environment = environment
            })
        try await runtime.startContainer(id)
        let status = try await fixture.exit(runtime, id)
        let log = try fixture.log()
        try await runtime.removeContainer(id)
        try await fixture.tearDown(runtime)
        return (status.exitCode, log)
    }

    /// Each program, once: it can be run, and does not die. `--help` does nothing else.
    @Test(arguments: ["catbird/node", "catbird/ctl", "catbird/lab-frontend"])
    func everyProgramRuns(image: String) async throws {
        let script = """
            IFS=:; for folder in $PATH; do
                for program in "$folder"/*; do
                    [ -f "$program" ] || continue
                    case $program in
                    */catbird* | */calicoctl) continue ;;
                    */bird) set -- --version ;;
                    *) set -- --help ;;
                    esac
                    timeout 3 "$program" "$@" </dev/null >/dev/null 2>&1
                    code=$?
                    [ $code = 143 ] && code=0 # a server
                    [ $code -lt 126 ] || echo "broken: $program $code"
                    count=$((${count:-0} + 1))
                done
            done
            echo "tried: $count"
            """
        let (code, log) = try await run(image, script)
        #expect(code == 0)
        #expect(log.filter { $0.contains("broken") } == [])
        let counts: [Int] = log.compactMap { line in
            guard let range = line.firstRange(of: "tried: ") else { return nil }
            return Int(String(line[range.upperBound...]), radix: 10)
        }
        let tried = counts.first ?? 0
        #expect(tried > 200, "\(log)")
    }

    /// Runs several scripts one after the other in one container, and returns what each said.
    private func outputs(_ image: String, _ scripts: [String], environment: [(String, String)] = []) async throws
        -> [String]
    {
        let end = "~~~"
        let (_, log) = try await run(
            image, scripts.map { "( \($0)\n)\necho '\(end)'" }.joined(separator: "\n"), environment: environment)
        // A line that came in pieces is marked P but for its last.
        let text = log.map { line in
            let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            return (parts.count > 2 ? String(parts[2]) : "") + (parts.count > 1 && parts[1] == "P" ? "" : " ")
        }.joined()
        return text.split(separator: end + " ", omittingEmptySubsequences: false).dropLast().map {
            $0.split(separator: " ").joined(separator: " ")
        }
    }

    /// What they are used for.
    private static let uses = [
        ("printenv COLOUR", "green"), ("printenv NONE; echo $?", "1"), ("printenv | grep ^COLOUR", "COLOUR=green"),
        ("env printenv LINES_", "a b"), ("timeout 5 printenv COLOUR NONE; echo $?", "green 1"),
        ("echo a b | awk '{print $2}'", "b"), ("echo abc | sed s/b/x/", "axc"), ("seq 3 | sort -r | head -n 1", "3"),
        ("printf abc | gzip | gunzip", "abc"), ("tar cf - -C /etc passwd | tar tf -", "passwd"),
        ("printf abc | base64", "YWJj"), ("printf abc | md5sum | cut -c1-6", "900150"),
        ("ip -o link show lo | cut -d: -f2 | tr -d ' '", "lo"), ("ping -c 1 -W 2 127.0.0.1 | grep -c '64 bytes'", "1"),
        ("id -un", "root"), ("stat -c %a /tmp", "1777"), ("readlink /usr/bin/env | grep -c busybox", "1"),
        ("mktemp /tmp/x.XXXXXX | cut -c1-7", "/tmp/x."), ("xargs echo <<X\n1\nX", "1"), ("which wget", "/usr/bin/wget"),
        ("find /etc -name passwd", "/etc/passwd"), ("busybox wget 2>&1 | grep -c Usage", "1"),
        ("echo '2 3 + p' | dc", "5"), ("date -d @0 -u +%Y", "1970"), ("expr 2 + 3", "5"), ("nproc | grep -c .", "1"),
    ]

    @Test func commandsDoWhatTheyAreFor() async throws {
        let found = try await outputs(
            "catbird/lab-frontend", Self.uses.map(\.0), environment: [("COLOUR", "green"), ("LINES_", "a b")])
        #expect(found.count == Self.uses.count)
        for ((command, output), found) in zip(Self.uses, found) { #expect(found == output, "\(command)") }
    }

    /// Limits of time in every way of writing them, also where busybox' own programs start it.
    @Test func wgetKeepsTime() async throws {
        let server = try TinyRegistry()
        server.put("/page", Array("the page".utf8))
        server.handle { $0.target == "/slow" ? TinyRegistry.Answer(status: "200 OK", stalls: true) : nil }
        let page = "http://\(server.host)/page"
        let ways = [
            "wget --timeout=2 -qO- \(page)", "wget --timeout 2 -q -O - \(page)", "wget -T 2 -qO- \(page)",
            "wget -qT2 -O- \(page)", "wget -qO- -T2 \(page)", "wget -q -T 2 --tries=1 -O - \(page)",
            "wget -t 1 -q --timeout=2 \(page) -O -", "wget -qO- \(page)", "timeout 5 wget -T 2 -qO- \(page)",
            "env wget --timeout=2 -qO- \(page)", "echo \(page) | xargs wget -T 2 -qO-", "sh -c 'wget -T2 -qO- \(page)'",
        ]
        let pages = try await outputs("catbird/ctl", ways.map { "\($0); echo \" $?\"" })
        #expect(pages.count == ways.count)
        for (way, page) in zip(ways, pages) { #expect(page == "the page 0", "\(way)") }
        let slow = "http://\(server.host)/slow"
        let closed = try TinyRegistry().port
        let (_, failures) = try await run(
            "catbird/ctl",
            """
            wget -qO- --timeout=1 \(slow); echo "code $?"
            wget -qO- -T 1 http://127.0.0.1:\(closed)/; echo "code $?"
            wget -qO- --timeout=1 http://\(server.host)/none; echo "code $?"
            wget -T x \(page); echo "code $?"
            """)
        let words = failures.joined(separator: "\n")
        #expect(words.contains("wget: download timed out"), "\(words)")
        #expect(words.contains("Connection refused") && words.contains("404") && words.contains("invalid number 'x'"))
        #expect(failures.filter { $0.hasSuffix("code 1") }.count == 4, "\(words)")
    }

    /// The stand-in of the lab's image: the page at every path and for every method.
    @Test func theFrontendAnswersEveryPath() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let image = try #require(fixture.images.image("ifilyaninitmo/itdt-contained-frontend:master"))
        let id = try await runtime.createContainer(
            fixture.container("") { spec in
                spec.image = image
                spec.command = []
                spec.environment = [("REACT_APP_USERNAME", "<Ann>"), ("REACT_APP_COMPANY_NAME", "Größe & Co")]
            })
        let log = fixture.scratch.path + "/logs/c.log"
        try await runtime.startContainer(id)
        let listening = try await runtime.exec(
            id, command: ["/bin/sh", "-c", "until netstat -ltn | grep -q :3000; do usleep 20000; done"])
        #expect(try await listening.exitCode() == 0)
        for path in ["/", "/index.html", "/a/b?c=d", "/static/../x", "/%00"] {
            let output = try await ProcessSpawner(
                "curl", ["-s", "-i", "--path-as-is", "-m", "20", "http://127.0.0.1:3000\(path)"]
            ).run()
            #expect(output.text.hasPrefix("HTTP/1.1 200"), "\(path): \(output.text)")
            #expect(output.text.contains("REACT_APP_USERNAME: &lt;Ann&gt;"))
            #expect(output.text.contains("REACT_APP_COMPANY_NAME: Größe &amp; Co"))
            #expect(output.text.hasSuffix("</html>\n"))
        }
        let head = try await ProcessSpawner("curl", ["-s", "-I", "-m", "20", "http://127.0.0.1:3000/x"]).run()
        #expect(head.text.hasPrefix("HTTP/1.1 200") && head.status.isSuccess)
        let body = String(repeating: "x", count: 2_000_000)
        let post = try await ProcessSpawner(
            "curl",
            [
                "-s", "-m", "20", "--data-binary", "@-", "-o", "/dev/null", "-w", "%{http_code}",
                "http://127.0.0.1:3000/p",
            ]
        ).run(input: Array(body.utf8))
        #expect(post.text == "200")
        try await runtime.stopContainer(id, timeoutSeconds: 20)
        #expect(runtime.container(id)?.exitCode == 0)
        let lines = try Files.text(log)
        #expect(lines.contains("listening on port 3000") && lines.contains("GET /a/b?c=d"))
        try await runtime.removeContainer(id)
        try await fixture.tearDown(runtime)
    }

    @Test func theImagesAnswerForCalicosNames() async throws {
        let fixture = try await RuntimeFixture()
        let components = [
            "node", "cni", "kube-controllers", "typha", "pod2daemon-flexvol", "csi", "node-driver-registrar",
            "apiserver",
            "calico",
        ]
        for prefix in ["calico/", "docker.io/calico/", "quay.io/calico/"] {
            for name in components {
                let image = fixture.images.image("\(prefix)\(name):v3.31.0")
                #expect(image?.reference == "docker.io/catbird/node:v1", "\(prefix)\(name)")
            }
            for tag in ["", ":latest", ":v3.20.0", ":release-v3.31"] {
                let image = fixture.images.image("\(prefix)ctl\(tag)")
                #expect(image?.reference == "docker.io/catbird/ctl:v1", "\(prefix)ctl\(tag)")
                for path in ["/calicoctl", "/usr/bin/calicoctl", "/usr/local/bin/calicoctl"] {
                    #expect(
                        image?.layerPaths.contains { (try? Files.target(ofLink: $0 + path)) == "/usr/bin/catbird" }
                            == true)
                }
            }
        }
    }
}
