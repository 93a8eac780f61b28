// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// Writes tar archives, wicked ones too: nothing is checked.
struct Tar {
    private(set) var bytes: [UInt8] = []

    /// `type`: '0' file, '1' hard link, '2' symbolic link, '3' and '4' devices, '5' folder, '6' pipe.
    mutating func add(
        _ path: String, _ type: Character = "0", content: [UInt8] = [], link: String = "", mode: Int = 0o644,
        uid: Int = 0, size: Int? = nil, device: (Int, Int) = (0, 0), attributes: [(String, String)] = []
    ) {
        add(
            bytes: Array(path.utf8), type, content: content, link: Array(link.utf8), mode: mode, uid: uid, size: size,
            device: device, attributes: attributes)
    }

    /// The same with names that need not be text.
    mutating func add(
        bytes path: [UInt8], _ type: Character = "0", content: [UInt8] = [], link: [UInt8] = [], mode: Int = 0o644,
        uid: Int = 0, size: Int? = nil, device: (Int, Int) = (0, 0), attributes: [(String, String)] = []
    ) {
        if !attributes.isEmpty {
            var records: [UInt8] = []
            for (name, value) in attributes {
                let body = " SCHILY.xattr.\(name)=\(value)\n"
                var length = body.utf8.count + 2
                while "\(length)".utf8.count + body.utf8.count != length { length += 1 }
                records += Array("\(length)\(body)".utf8)
            }
            add("PaxHeaders/x", "x", content: records)
        }
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: some Sequence<UInt8>, at offset: Int, _ width: Int) {
            for (index, byte) in text.prefix(width).enumerated() { header[offset + index] = byte }
        }
        func put(_ text: String, at offset: Int, _ width: Int) { put(text.utf8, at: offset, width) }
        func octal(_ number: Int, _ width: Int) -> String {
            let digits = String(number, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        put(path, at: 0, 100)
        put(octal(mode, 7), at: 100, 8)
        put(octal(uid, 7), at: 108, 8)
        put(octal(uid, 7), at: 116, 8)
        put(octal(size ?? content.count, 11), at: 124, 12)
        put(octal(1_600_000_000, 11), at: 136, 12)
        put("        ", at: 148, 8)
        put(String(type), at: 156, 1)
        put(link, at: 157, 100)
        put("ustar", at: 257, 6)
        put("00", at: 263, 2)
        put(octal(device.0, 7), at: 329, 8)
        put(octal(device.1, 7), at: 337, 8)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\0 ", at: 148, 8)
        bytes += header + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}

/// Compresses by the machine's gzip.
func gzip(_ bytes: [UInt8]) async throws -> [UInt8] {
    try await ProcessSpawner("gzip", ["-nc"]).run(input: bytes).output
}

func sha256(_ bytes: [UInt8]) async throws -> String {
    let output = try await ProcessSpawner("sha256sum").run(input: bytes)
    return "sha256:" + output.text.prefix(64)
}

/// An image of layers, and the archives that hold it.
struct TestImage {
    var layers: [[UInt8]]
    var config: [UInt8]
    var diffIDs: [String]

    init(_ layers: [[UInt8]], architecture: String = machine, command: [String] = ["/bin/sh"]) async throws {
        self.layers = layers
        diffIDs = []
        for layer in layers { diffIDs.append(try await sha256(layer)) }
        config = JSON.object([
            "architecture": JSON(architecture), "os": "linux", "config": ["Cmd": JSON(command)],
            "rootfs": ["type": "layers", "diff_ids": JSON(diffIDs)],
        ]).serialized()
    }

    static var machine: String {
        #if arch(x86_64)
        "amd64"
        #else
        "arm64"
        #endif
    }

    /// As `docker save` writes it.
    func dockerArchive(_ tags: [String]) -> [UInt8] {
        var tar = Tar()
        tar.add("config.json", content: config)
        for (index, layer) in layers.enumerated() { tar.add("\(index)/layer.tar", content: layer) }
        let manifest: JSON = [
            [
                "Config": "config.json", "RepoTags": JSON(tags),
                "Layers": JSON(layers.indices.map { "\($0)/layer.tar" }),
            ]
        ]
        tar.add("manifest.json", content: manifest.serialized())
        return tar.finished
    }

    /// As the OCI image layout has it.
    func ociArchive(_ name: String) async throws -> [UInt8] {
        var tar = Tar()
        func blob(_ bytes: [UInt8], _ type: String) async throws -> JSON {
            let digest = try await sha256(bytes)
            tar.add("blobs/sha256/\(digest.dropFirst(7))", content: bytes)
            return ["mediaType": JSON(type), "digest": JSON(digest), "size": JSON(bytes.count)]
        }
        var descriptors: [JSON] = []
        for layer in layers {
            descriptors.append(try await blob(try await gzip(layer), "application/vnd.oci.image.layer.v1.tar+gzip"))
        }
        let manifest: JSON = [
            "schemaVersion": 2, "config": try await blob(config, "application/vnd.oci.image.config.v1+json"),
            "layers": .array(descriptors),
        ]
        var entry = try await blob(manifest.serialized(), "application/vnd.oci.image.manifest.v1+json")
        entry["annotations"] = ["io.containerd.image.name": JSON(name)]
        let index: JSON = ["schemaVersion": 2, "manifests": [entry]]
        tar.add("oci-layout", content: Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
        tar.add("index.json", content: index.serialized())
        return tar.finished
    }
}
