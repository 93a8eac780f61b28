// SPDX-License-Identifier: Apache-2.0

import CArchive
import Crypto
import Glibc
import Linux
import Values

/// Where the programs of built-in images are.
public struct BuiltinSources: Sendable, Hashable {
    public var catbird: String
    public var plugin: String
    public var busybox: String

    public init(catbird: String, plugin: String, busybox: String) {
        self.catbird = catbird
        self.plugin = plugin
        self.busybox = busybox
    }

    /// The running program, the plugin beside it, and Debian's busybox.
    public static func running() throws -> BuiltinSources {
        let own = try Files.target(ofLink: "/proc/self/exe")
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].first { Files.exists($0) }
        guard let busybox else {
            throw ImageError(
                .other, "busybox is not installed, and the built-in images need it: \"apt-get install busybox-static\"")
        }
        return BuiltinSources(
            catbird: own, plugin: Files.directory(of: own) + "/catbird-cni", busybox: busybox)
    }
}

extension ImageStore {
    /// Puts the built-in images into the store. Quick when they are there: programs are known by size, time and inode,
    /// and only read when these change. Layers are named by what is in them, so a rebuilt program gets new ones.
    public func installBuiltins(
        _ images: [BuiltinImage] = BuiltinImages.all, from sources: BuiltinSources? = nil
    ) async throws {
        do {
            let maker = try BuiltinLayers(store: self, sources: sources ?? .running())
            try await maker.readApplets()
            try await OwnThread.run(awaiting: { try self.install(images, maker) })
        } catch { throw ImageError.wrapping(error, image: "catbird/*", doing: "installing built-in") }
    }

    private func install(_ images: [BuiltinImage], _ maker: BuiltinLayers) throws {
        let importing = try importLock()
        var wanted: [StoreIndex.Record] = []
        for image in images {
            let layers = try image.layers.map { try maker.layer($0) }
            let name = try ImageReference("\(image.name):\(BuiltinImages.version)")
            let config = try writeBlob(Self.config(image, layers.map(\.name)).serialized())
            wanted.append(
                StoreIndex.Record(
                    id: config, references: [name.description], repoDigests: [],
                    sizeBytes: layers.reduce(0) { $0 + $1.size }, layers: layers.map(\.name),
                    builtinNames: [name.repository],
                    standsInFor: try image.standsInFor.map { try ImageReference($0).repository }))
        }
        try maker.save()
        let index = readIndex()
        let isThere = wanted.allSatisfy { record in
            index.record(id: record.id).map {
                $0.builtinNames == record.builtinNames && $0.standsInFor == record.standsInFor
                    && $0.layers == record.layers
            } ?? false
        }
        guard !isThere else { return }
        try changeIndex { index in
            for record in wanted { index.insert(record) }
            // What an older build made of the same images.
            index.records.removeAll { record in
                !record.builtinNames.isEmpty
                    && wanted.contains { $0.id != record.id && $0.builtinNames == record.builtinNames }
            }
        }
        _ = consume importing
        try collectGarbage()
    }

    private static func config(_ image: BuiltinImage, _ layers: [String]) -> JSON {
        var config: JSON = ["Env": JSON(image.environment), "WorkingDir": JSON(image.workingDirectory)]
        if !image.entrypoint.isEmpty { config["Entrypoint"] = JSON(image.entrypoint) }
        if !image.command.isEmpty { config["Cmd"] = JSON(image.command) }
        if !image.exposedPorts.isEmpty {
            config["ExposedPorts"] = .object(JSONObject(image.exposedPorts.map { ($0, [:]) }))
        }
        config["Labels"] = ["io.catbird.builtin": JSON(image.name)]
        return [
            "created": "1970-01-01T00:00:00Z", "architecture": JSON(Platform.current.architecture),
            "os": JSON(Platform.current.os), "config": config,
            "rootfs": ["type": "layers", "diff_ids": JSON(layers.map { "sha256:" + $0 })],
        ]
    }
}

/// Makes the layers of built-in images.
///
/// Unchecked, because it is used by one thread at a time: `installBuiltins` makes it, hands it to its own thread and
/// does not touch it again; nobody else sees it.
private final class BuiltinLayers: @unchecked Sendable {
    struct Layer { var name: String; var size: Int }

    /// A file, folder or link to be, and where its bytes come from.
    private struct Entry {
        enum Content {
            case folder, link(String), text(String), bytes([UInt8]), copy(String, digest: String, size: Int)
        }
        var path: String
        var mode: UInt32
        var content: Content

        /// The entry as it goes into the layer's name.
        var line: String {
            let text =
                switch content {
                case .folder: "folder"
                case .link(let target): "link \(target)"
                case .text(let text): "text \(Digest.of(Array(text.utf8)))"
                case .bytes(let bytes): "file \(Digest.of(bytes))"
                case .copy(_, let digest, _): "file \(digest)"
                }
            return "\(path) \(String(mode, radix: 8)) \(text)"
        }

        var size: Int {
            switch content {
            case .folder, .link: 0
            case .text(let text): text.utf8.count
            case .bytes(let bytes): bytes.count
            case .copy(_, _, let size): size
            }
        }
    }

    private let store: ImageStore
    private let sources: BuiltinSources
    private var made: [BuiltinImage.Layer: Layer] = [:]
    private var known = JSON.object([:])
    private var knownChanged = false
    private var knownPath: String { store.root + "/builtin-files.json" }

    init(store: ImageStore, sources: BuiltinSources) throws {
        self.store = store
        self.sources = sources
        try store.prepare()
        if let bytes = try? Files.read(knownPath), let json = try? JSON(parsing: bytes), json.object != nil {
            known = json
        }
    }

    func save() throws {
        if knownChanged { try Files.replace(knownPath, with: known.serialized(), durable: false) }
    }

    private func stampText(_ path: String) throws -> (text: String, size: Int) {
        guard let stamp = FileStamp(path) else { throw Errno(code: ENOENT, call: "stat", detail: path) }
        return (
            "\(stamp.device) \(stamp.inode) \(stamp.size) \(stamp.seconds).\(stamp.nanoseconds)",
            Int(clamping: stamp.size)
        )
    }

    /// Asks busybox what it can do, unless this busybox was asked before.
    func readApplets() async throws {
        let (stamp, _) = try stampText(sources.busybox)
        if known["applets"]["stamp"].string == stamp { return }
        let output = try await ProcessSpawner(sources.busybox, ["--list-full"]).run(limit: 1 << 20)
        let applets = output.text.split(separator: "\n").map(String.init).filter { !$0.isEmpty && !$0.contains("..") }
        guard output.status.isSuccess, applets.count > 20 else {
            throw ImageError(
                .other,
                "\(sources.busybox) does not list its commands: install Debian's with \"apt-get install busybox-static\""
            )
        }
        known["applets"] = ["stamp": JSON(stamp), "names": JSON(applets)]
        knownChanged = true
    }

    /// A file's digest, read only when the file is not as it was.
    private func copy(_ source: String, to path: String, mode: UInt32) throws -> Entry {
        let (stamp, size) = try stampText(source)
        let remembered = known["files"][source]
        if remembered["stamp"].string == stamp, let digest = remembered["digest"].string {
            return Entry(path: path, mode: mode, content: .copy(source, digest: digest, size: size))
        }
        let file = try FileDescriptor.open(source)
        var hash = SHA256()
        while true {
            let part = try file.read(upTo: 1 << 20)
            if part.isEmpty { break }
            hash.update(data: part)
        }
        let digest = Digest.text(hash)
        var files = known["files"] ?? [:]
        files[source] = ["stamp": JSON(stamp), "digest": JSON(digest)]
        known["files"] = files
        knownChanged = true
        return Entry(path: path, mode: mode, content: .copy(source, digest: digest, size: size))
    }

    func layer(_ layer: BuiltinImage.Layer) throws -> Layer {
        if let known = made[layer] { return known }
        let entries: [Entry]
        switch layer {
        case .busybox: entries = try busybox()
        case .catbird: entries = try catbird()
        case .bird: entries = try bird()
        case .files(let files):
            entries = files.map { file in
                switch file.content {
                case .text(let text): Entry(path: file.path, mode: UInt32(file.permissions), content: .text(text))
                case .link(let target): Entry(path: file.path, mode: 0o777, content: .link(target))
                }
            }
        }
        let name = Digest.hex(Digest.of(Array(entries.map(\.line).joined(separator: "\n").utf8)))
        let result = Layer(name: name, size: entries.reduce(0) { $0 + $1.size })
        if !Files.exists("\(store.layersFolder)/\(name)") { try build(entries, name) }
        made[layer] = result
        return result
    }

    private func busybox() throws -> [Entry] {
        var closure = LibraryClosure()
        try closure.add(program: sources.busybox)
        var entries: [Entry] = []
        for folder in [
            "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/etc", "/home", "/mnt", "/var/log", "/var/run", "/run", "/proc",
            "/sys", "/dev",
        ] {
            entries.append(Entry(path: folder, mode: 0o755, content: .folder))
        }
        entries.append(Entry(path: "/root", mode: 0o700, content: .folder))
        entries.append(Entry(path: "/tmp", mode: 0o1777, content: .folder))
        entries.append(
            Entry(
                path: "/etc/passwd", mode: 0o644,
                content: .text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")))
        entries.append(
            Entry(path: "/etc/group", mode: 0o644, content: .text("root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")))
        entries.append(Entry(path: "/etc/nsswitch.conf", mode: 0o644, content: .text("hosts: files dns\n")))
        entries.append(try copy(sources.busybox, to: "/bin/busybox", mode: 0o755))
        entries += try libraries(closure)
        let applets = known["applets"]["names"].array?.compactMap(\.string) ?? []
        let names = applets.map { String($0.split(separator: "/").last ?? "") }
        let original = try Files.read(sources.busybox)
        var program = "/bin/busybox"
        // Of busybox itself the shell would not look for another one either.
        if let bytes = BuiltinTools.busybox(original, without: "wget", names: names)
            .map({ BuiltinTools.busybox($0, without: "busybox", names: names) ?? $0 })
        {
            program = "/usr/libexec/busybox"
            entries.append(Entry(path: program, mode: 0o755, content: .bytes(bytes)))
        }
        for applet in applets where applet != "bin/busybox" && !applet.hasSuffix("/wget") {
            entries.append(Entry(path: "/" + applet, mode: 0o777, content: .link(program)))
        }
        entries.append(Entry(path: "/usr/bin/wget", mode: 0o755, content: .text(BuiltinTools.wget)))
        if !names.contains("printenv") {
            entries.append(Entry(path: "/usr/bin/printenv", mode: 0o755, content: .text(BuiltinTools.printenv)))
        }
        return entries
    }

    private func catbird() throws -> [Entry] {
        guard Files.exists(sources.plugin) else {
            throw ImageError(.other, "the CNI plugin \(sources.plugin) is missing; it is built together with catbird")
        }
        var closure = LibraryClosure()
        try closure.add(program: sources.catbird)
        try closure.add(program: sources.plugin)
        return [
            try copy(sources.catbird, to: "/usr/bin/catbird", mode: 0o755),
            try copy(sources.plugin, to: "/usr/bin/catbird-cni", mode: 0o755),
        ] + (try libraries(closure))
    }

    private func bird() throws -> [Entry] {
        var closure = LibraryClosure()
        var entries = [Entry(path: "/var/run/calico", mode: 0o755, content: .folder)]
        for program in ["/usr/sbin/bird", "/usr/sbin/birdcl"] where Files.exists(program) {
            try closure.add(program: program)
            entries.append(try copy(program, to: program, mode: 0o755))
        }
        return entries + (try libraries(closure))
    }

    /// All libraries go where the loader looks without being told: beside the C library.
    private func libraries(_ closure: LibraryClosure) throws -> [Entry] {
        var entries = try closure.interpreters.sorted().map { try copy($0, to: $0, mode: 0o755) }
        guard let home = closure.libraries["libc.so.6"].map({ Files.directory(of: $0) }) else { return entries }
        for (name, path) in closure.libraries.sorted(by: { $0.key < $1.key }) {
            entries.append(try copy(path, to: "\(home)/\(name)", mode: 0o755))
        }
        return entries
    }

    /// In a folder of its own first; the name appears when all is done.
    private func build(_ entries: [Entry], _ name: String) throws {
        let work = try WorkFolder(in: store)
        let root = work.path + "/layer"
        guard mkdir(root, 0o755) == 0 else { throw Errno("mkdir", root) }
        chmod(root, 0o755)
        for entry in entries {
            let path = root + entry.path
            try Files.makeDirectories(Files.directory(of: path))
            switch entry.content {
            case .folder:
                try Files.makeDirectories(path)
                chmod(path, entry.mode)
            case .link(let target):
                if symlink(target, path) != 0, errno != EEXIST { throw Errno("symlink", path) }
            case .text(let text): try Self.write(Array(text.utf8), to: path, entry.mode)
            case .bytes(let bytes): try Self.write(bytes, to: path, entry.mode)
            case .copy(let source, _, let size): try Self.copy(source, to: path, size: size, mode: entry.mode)
            }
        }
        let handle = try FileDescriptor.open(root, O_RDONLY | O_DIRECTORY)
        guard catbird_sync_filesystem(handle.rawValue) == 0 else { throw Errno("syncfs", root) }
        let target = "\(store.layersFolder)/\(name)"
        if rename(root, target) != 0, errno != EEXIST, errno != ENOTEMPTY { throw Errno("rename", target) }
    }

    private static func write(_ bytes: [UInt8], to path: String, _ mode: UInt32) throws {
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try file.write(bytes)
        fchmod(file.rawValue, mode)
    }

    /// Shares blocks where the file system can. No hard link: a build that writes its program in place would change
    /// running containers.
    private static func copy(_ source: String, to path: String, size: Int, mode: UInt32) throws {
        let from = try FileDescriptor.open(source)
        let to = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        if catbird_clone_file(to.rawValue, from.rawValue) != 0 {
            var isCopied = false
            while true {
                let count = catbird_copy_range(from.rawValue, to.rawValue, 1 << 30)
                if count == 0 { isCopied = true }
                if count <= 0 { break }
            }
            if !isCopied {
                if errno == ENOSPC { throw Errno("copy_file_range", path) }
                guard lseek(from.rawValue, 0, SEEK_SET) == 0, ftruncate(to.rawValue, 0) == 0,
                    lseek(to.rawValue, 0, SEEK_SET) == 0
                else { throw Errno("lseek", path) }
                while true {
                    let part = try from.read(upTo: 1 << 20)
                    if part.isEmpty { break }
                    try to.write(part)
                }
            }
        }
        guard fchmod(to.rawValue, mode) == 0 else { throw Errno("chmod", path) }
    }
}
