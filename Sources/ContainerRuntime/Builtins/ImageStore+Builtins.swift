// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// Where the built-in images' programs come from on this machine.
public struct BuiltinSources: Sendable {
    /// The `catbird` program, which must be the one that runs: its libraries are read off this process.
    public var catbird: String
    public var plugin: String
    public var busybox: String

    public init(catbird: String, plugin: String, busybox: String) {
        self.catbird = catbird
        self.plugin = plugin
        self.busybox = busybox
    }
}

extension ImageStore {
    /// Puts the built-in images into the store. Layers are known by the size and time of the programs they are made
    /// of: what is there already is not made again.
    public func installBuiltins(_ images: [BuiltinImage] = BuiltinImages.all, from sources: BuiltinSources) async throws {
        try prepare()
        // Layers that no image names yet are safe from the collection of garbage while this is held.
        let importing = try FileLock(root + "/locks/import", .shared)
        let maker = BuiltinLayers(store: self, layersFolder: layersFolder, sources: sources)
        var records: [StoreIndex.Record] = []
        for image in images {
            var layers: [String] = []
            var size = 0
            for layer in image.layers {
                let made = try await maker.make(layer)
                layers.append(made.name)
                size += made.size
            }
            let config: JSON = [
                "architecture": JSON(Platform.current.architecture), "os": "linux",
                "config": [
                    "Entrypoint": JSON(image.entrypoint), "Cmd": JSON(image.command),
                    "Env": JSON(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + image.environment),
                    "WorkingDir": JSON(image.workingDirectory),
                    "ExposedPorts": .object(JSONObject(image.exposedPorts.map { ($0, [:]) })),
                    "Labels": ["dev.catbird.builtin": JSON(image.name)],
                ],
                "rootfs": ["type": "layers", "diff_ids": JSON(layers.map { "builtin:\($0)" })],
            ]
            let repository = "docker.io/\(image.name)"
            records.append(
                StoreIndex.Record(
                    id: try writeBlob(config.serialized()), references: ["\(repository):\(BuiltinImages.version)"],
                    repoDigests: [], sizeBytes: size, layers: layers, builtinNames: [repository],
                    standsInFor: image.standsInFor))
        }
        let known = readIndex()
        let isCurrent = records.allSatisfy { record in
            known.record(id: record.id).map { $0.layers == record.layers && $0.references.contains(record.references[0]) }
                ?? false
        }
        if !isCurrent { try changeIndex { index in for record in records { index.insert(record) } } }
        _ = consume importing
        if !isCurrent { try collectGarbage() }
    }
}

/// Makes the folders that built-in images share.
private struct BuiltinLayers {
    let store: ImageStore
    let layersFolder: String
    let sources: BuiltinSources

    /// The name of the layer's folder, which is made when there is none, and how many bytes its files hold.
    func make(_ layer: BuiltinImage.Layer) async throws -> (name: String, size: Int) {
        var contents: [BuiltinContent]
        switch layer {
        case .busybox: contents = try await busybox()
        case .catbird: contents = try catbird()
        case .files(let files): contents = files.map { BuiltinContent($0) }
        }
        contents.sort { $0.path < $1.path }
        let identity = try contents.map { try $0.identity() }.joined(separator: "\n")
        let name = "builtin-" + Digest.hex(Digest.of(Array(identity.utf8)))
        let folder = "\(layersFolder)/\(name)"
        let size = contents.reduce(0) { $0 + $1.size }
        if Files.exists(folder) { return (name, size) }
        let work = try WorkFolder(in: store)
        let made = "\(work.path)/layer"
        try Files.makeDirectories(made)
        for content in contents { try content.write(below: made) }
        // Whoever makes the same layer at the same time makes the same files.
        if rename(made, folder) != 0, !Files.exists(folder) { throw Errno("rename", folder) }
        return (name, size)
    }

    private func busybox() async throws -> [BuiltinContent] {
        let output = try await ProcessSpawner(sources.busybox, ["--list"]).run()
        let applets = output.text.split(separator: "\n").map(String.init).filter { $0 != "busybox" }
        var contents = ["proc", "sys", "dev", "tmp", "root", "run", "var/run", "var/log", "mnt", "home"].map {
            BuiltinContent(path: "/\($0)", kind: .folder(permissions: $0 == "tmp" ? 0o1777 : 0o755))
        }
        contents.append(BuiltinContent(path: "/bin/busybox", kind: .copy(sources.busybox, permissions: 0o755)))
        for applet in applets { contents.append(BuiltinContent(path: "/bin/\(applet)", kind: .link("/bin/busybox"))) }
        let texts = [
            "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
            "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
            "/etc/nsswitch.conf": "hosts: files dns\n",
        ]
        for (path, text) in texts { contents.append(BuiltinContent(path: path, kind: .text(text, permissions: 0o644))) }
        return contents
    }

    private func catbird() throws -> [BuiltinContent] {
        var contents = [
            BuiltinContent(path: "/usr/bin/catbird", kind: .copy(sources.catbird, permissions: 0o755)),
            BuiltinContent(path: "/usr/bin/catbird-cni", kind: .copy(sources.plugin, permissions: 0o755)),
            BuiltinContent(path: "/lib", kind: .link("usr/lib")),
            BuiltinContent(path: "/lib64", kind: .link("usr/lib64")),
        ]
        for library in try Self.mappedLibraries() {
            // The loader searches below /usr/lib; libraries from elsewhere (a toolchain's) keep their place.
            contents.append(BuiltinContent(path: library, kind: .copy(library, permissions: 0o755)))
            let folder = Files.directory(of: library)
            let name = String(library.dropFirst(folder.count + 1))
            // Programs ask for libraries by the names of links beside them.
            for entry in try Files.list(folder) where entry.kind == .symbolicLink {
                let link = "\(folder)/\(entry.name)"
                if let target = try? Files.target(ofLink: link), target == name {
                    contents.append(BuiltinContent(path: link, kind: .link(name)))
                }
            }
            if name.hasPrefix("ld-linux-x86-64") {
                contents.append(BuiltinContent(path: "/usr/lib64/\(name)", kind: .link(library)))
            } else if name.hasPrefix("ld-linux") {
                contents.append(BuiltinContent(path: "/usr/lib/\(name)", kind: .link(library)))
            }
        }
        return contents
    }

    /// The shared libraries that this process has loaded, the dynamic loader among them.
    private static func mappedLibraries() throws -> [String] {
        let maps = try Files.text("/proc/self/maps")
        let paths = maps.split(separator: "\n").compactMap { line -> String? in
            guard let start = line.firstIndex(of: "/") else { return nil }
            return String(line[start...])
        }
        return Set(paths).filter { $0.contains(".so") && !$0.hasSuffix("(deleted)") }.sorted()
    }
}

/// One file of a layer.
private struct BuiltinContent {
    enum Kind {
        case folder(permissions: mode_t)
        case copy(String, permissions: mode_t)
        case text(String, permissions: mode_t)
        case link(String)
    }

    let path: String
    let kind: Kind

    init(path: String, kind: Kind) {
        self.path = path
        self.kind = kind
    }

    init(_ file: BuiltinImage.File) {
        path = file.path
        kind =
            switch file.content {
            case .text(let text): .text(text, permissions: mode_t(file.permissions))
            case .link(let target): .link(target)
            }
    }

    /// What tells this file from another version of it.
    func identity() throws -> String {
        switch kind {
        case .folder(let permissions): return "\(path) folder \(permissions)"
        case .copy(let source, let permissions):
            guard let stamp = FileStamp(source) else { throw Errno(code: ENOENT, call: "stat", detail: source) }
            return "\(path) \(permissions) \(source) \(stamp)"
        case .text(let text, let permissions): return "\(path) \(permissions) \(Digest.of(Array(text.utf8)))"
        case .link(let target): return "\(path) -> \(target)"
        }
    }

    /// How many bytes it holds.
    var size: Int {
        switch kind {
        case .folder, .link: 0
        case .text(let text, _): text.utf8.count
        case .copy(let source, _): Int(FileStamp(source)?.size ?? 0)
        }
    }

    func write(below root: String) throws {
        let target = root + path
        try Files.makeDirectories(Files.directory(of: target))
        switch kind {
        case .folder(let permissions):
            try Files.makeDirectories(target)
            chmod(target, permissions)
        case .text(let text, let permissions):
            try Files.replace(target, with: Array(text.utf8), mode: permissions)
        case .link(let destination):
            try Files.link(destination, at: target)
        case .copy(let source, let permissions):
            let input = try FileDescriptor.open(source)
            let output = try FileDescriptor.open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode: permissions)
            while true {
                let bytes = try input.read(upTo: 1 << 20)
                if bytes.isEmpty { break }
                try output.write(bytes)
            }
            chmod(target, permissions)
        }
    }
}
