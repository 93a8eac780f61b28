// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeObjects
import Kubelet
import Testing
import Values

@Suite("Volumes") struct VolumeTests {
    static func volume(_ text: String) throws -> JSON { try JSON(parsing: text) }

    static let objects: [ObjectReference: KubeObject] = {
        var map = KubeObject(.configMaps, kind: "ConfigMap", name: "m", namespace: "n")
        map["data"] = ["a": "1", "b": "2"]
        map["binaryData"] = ["c": "AAE="]
        var secret = KubeObject(.secrets, kind: "Secret", name: "s", namespace: "n")
        secret["data"] = ["k": "djE="]
        return [ObjectReference(.configMaps, "n", "m"): map, ObjectReference(.secrets, "n", "s"): secret]
    }()

    func files(_ text: String, tokens: [TokenRequest: String] = [:]) throws -> [ProjectedFile]? {
        let pod = try pod(
            #"{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"x":"y","a":"b"}},"spec":{"containers":[]}}"#)
        return try VolumePayload.files(
            of: Self.volume(text), pod: pod, environment: EnvironmentSources(), tokens: tokens
        ) { Self.objects[$0] }?.sorted { $0.path < $1.path }
    }

    @Test(
        "what a hostPath's type asks for is made, and what is there is left as it is",
        arguments: [
            ("", "made", nil), ("DirectoryOrCreate", "made", nil), ("FileOrCreate", "made", nil),
            ("Directory", "folder", nil), ("Directory", "file", "a directory"), ("Directory", "missing", "a directory"),
            ("File", "file", nil),
            ("File", "folder", "a file"), ("FileOrCreate", "file", nil), ("FileOrCreate", "link", nil),
            ("DirectoryOrCreate", "file", "a directory"), ("Socket", "file", "a socket file"),
            ("CharDevice", "/dev/null", nil), ("BlockDevice", "/dev/null", "a block device"),
        ] as [(String, String, String?)])
    func hostPath(type: String, name: String, refusal: String?) throws {
        let folder = "/tmp/kubelet-hostpath-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? NodeFiles.removeTree(folder) }
        try NodeFiles.makeDirectory(folder + "/folder")
        try NodeFiles.write(Array("kept".utf8), to: folder + "/file")
        symlink(folder + "/file", folder + "/link")
        let path = name.hasPrefix("/") ? name : "\(folder)/\(name)"
        let hostPath = HostPath(["path": JSON(path), "type": JSON(type)])
        func place() throws {
            try hostPath.make()
            _ = try hostPath.place()
        }
        if let refusal {
            let error = #expect(throws: HostPath.Mismatch.self) { try place() }
            #expect(error?.description == "hostPath type check failed: \(path) is not \(refusal)")
        } else {
            try place()
            #expect(NodeFiles.exists(path))
        }
        #expect(NodeFiles.text(folder + "/file") == "kept")
    }

    @Test("contents of the four kinds")
    func contents() throws {
        #expect(
            try files(#"{"name":"v","configMap":{"name":"m"}}"#) == [
                ProjectedFile(path: "a", mode: 0o644, content: Array("1".utf8)),
                ProjectedFile(path: "b", mode: 0o644, content: Array("2".utf8)),
                ProjectedFile(path: "c", mode: 0o644, content: [0, 1]),
            ])
        #expect(
            try files(
                #"{"name":"v","configMap":{"name":"m","defaultMode":256,"items":[{"key":"a","path":"d/x","mode":511}]}}"#
            ) == [
                ProjectedFile(path: "d/x", mode: 0o777, content: Array("1".utf8))
            ])
        #expect(try files(#"{"name":"v","secret":{"secretName":"s"}}"#)?.map(\.content) == [Array("v1".utf8)])
        let downward =
            #"{"name":"v","downwardAPI":{"items":[{"path":"l","fieldRef":{"fieldPath":"metadata.labels"}}]}}"#
        #expect(try files(downward)?.map(\.content) == [Array("a=\"b\"\nx=\"y\"".utf8)])
        let request = TokenRequest(audience: "", expirationSeconds: 3607, path: "token")
        let projected =
            #"{"name":"v","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"m","items":[{"key":"a","path":"ca.crt"}]}}]}}"#
        #expect(VolumePayload.tokens(of: try Self.volume(projected)) == [request])
        #expect(try files(projected, tokens: [request: "jwt"])?.map(\.path) == ["ca.crt", "token"])
        #expect(try files(#"{"name":"v","emptyDir":{}}"#) == nil)
    }

    @Test(
        "what cannot be shown says why",
        arguments: [
            (#"{"name":"v","configMap":{"name":"gone"}}"#, "configmap \"gone\" not found"),
            (#"{"name":"v","secret":{"secretName":"gone"}}"#, "secret \"gone\" not found"),
            (
                #"{"name":"v","configMap":{"name":"m","items":[{"key":"z","path":"z"}]}}"#,
                "configmap references non-existent config key: z"
            ),
            (
                #"{"name":"v","configMap":{"name":"m","items":[{"key":"a","path":"../z"}]}}"#,
                "path \"../z\" must be relative and must not contain \"..\""
            ),
        ])
    func failures(text: String, message: String) throws {
        let error = #expect(throws: VolumeError.self) { try files(text) }
        #expect(error?.message == message)
        #expect(error?.description == "MountVolume.SetUp failed for volume \"v\" : \(message)")
    }

    @Test("optional sources may be missing")
    func optional() throws {
        #expect(try files(#"{"name":"v","configMap":{"name":"gone","optional":true}}"#) == [])
        #expect(
            try files(#"{"name":"v","configMap":{"name":"m","optional":true,"items":[{"key":"z","path":"z"}]}}"#) == [])
    }

    @Test("references of volumes and variables")
    func references() throws {
        let pod = try pod(
            #"{"metadata":{"namespace":"n"},"spec":{"volumes":[{"configMap":{"name":"a"}},{"projected":{"sources":[{"secret":{"name":"b"}}]}}],"containers":[{"envFrom":[{"secretRef":{"name":"c"}}],"env":[{"valueFrom":{"configMapKeyRef":{"name":"d","key":"k"}}}]}]}}"#
        )
        #expect(
            VolumePayload.references(of: pod) == [
                ObjectReference(.configMaps, "n", "a"), ObjectReference(.secrets, "n", "b"),
                ObjectReference(.secrets, "n", "c"), ObjectReference(.configMaps, "n", "d"),
            ])
    }

    @Test("the writer swaps all files at once and leaves nothing of the old ones")
    func atomicWriter() throws {
        let directory = "/tmp/kubelet-writer-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? NodeFiles.removeTree(directory) }
        let writer = AtomicWriter(directory: directory)
        func file(_ path: String, _ text: String) -> ProjectedFile {
            ProjectedFile(path: path, mode: 0o640, content: Array(text.utf8))
        }
        #expect(try writer.write([file("a", "1"), file("d/b", "2")]))
        #expect(NodeFiles.text("\(directory)/a") == "1")
        #expect(NodeFiles.text("\(directory)/d/b") == "2")
        #expect(NodeFiles.link("\(directory)/a") == "..data/a")
        let first = NodeFiles.link("\(directory)/..data")
        #expect(try !writer.write([file("a", "1"), file("d/b", "2")]))
        #expect(NodeFiles.link("\(directory)/..data") == first)
        #expect(try writer.write([file("a", "3")]))
        #expect(NodeFiles.text("\(directory)/a") == "3")
        #expect(!NodeFiles.exists("\(directory)/d"))
        let left = NodeFiles.list(directory).filter { $0 != "a" && $0 != "..data" }
        #expect(left.count == 1)
        #expect(left.first != first)
    }
}
