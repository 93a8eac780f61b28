// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// The families of figures that parts of a process keep about themselves, whoever shows them.
public final class ProcessMetrics: Sendable {
    public static let shared = ProcessMetrics()

    private let families = Mutex<[String: MetricFamily]>([:])

    private init() {}

    /// The family of that name: the one that is there, or a new one.
    public func family(
        _ kind: MetricFamily.Kind, _ name: String, _ help: String, labels: [String] = [], bounds: [Double] = []
    ) -> MetricFamily {
        families.withLock { families in
            if let known = families[name] { return known }
            let family = MetricFamily(kind, name, help, labels: labels, bounds: bounds)
            families[name] = family
            return family
        }
    }

    /// All families, and what the kernel says of the process.
    public func append(to text: inout String) {
        let sorted = families.withLock { Array($0.values) }.sorted { $0.name < $1.name }
        for family in sorted { family.append(to: &text) }
        for family in Self.kernelFigures() { family.append(to: &text) }
    }

    private static func kernelFigures() -> [MetricFamily] {
        func gauge(_ name: String, _ help: String, _ number: Double?, _ kind: MetricFamily.Kind = .gauge)
            -> MetricFamily?
        {
            guard let number else { return nil }
            let family = MetricFamily(kind, name, help)
            family.set(number)
            return family
        }
        // Behind the name, which may hold anything, come the state and then numbers; see proc(5).
        let stat = read("/proc/self/stat").flatMap { text in
            text.lastIndex(of: ")").map { text[text.index(after: $0)...].split(separator: " ").map(String.init) }
        }
        func field(_ number: Int) -> Double? {
            guard let stat, stat.indices.contains(number - 3) else { return nil }
            return Double(stat[number - 3])
        }
        let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        let page = Double(max(1, sysconf(Int32(_SC_PAGESIZE))))
        let boot = read("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
            .flatMap { Double($0.dropFirst(6)) }
        var files = rlimit()
        let hasLimit = getrlimit(__rlimit_resource_t(7), &files) == 0
        let start = field(22).flatMap { ticked in boot.map { $0 + ticked / ticks } }
        let used = field(14).flatMap { user in field(15).map { (user + $0) / ticks } }
        return [
            gauge("process_cpu_seconds_total", "Seconds of CPU, of the program and of the kernel.", used, .counter),
            gauge("process_max_fds", "Descriptors that may be open.", hasLimit ? Double(files.rlim_cur) : nil),
            gauge("process_open_fds", "Descriptors that are open.", openFiles()),
            gauge("process_resident_memory_bytes", "Memory that is in use.", field(24).map { $0 * page }),
            gauge("process_start_time_seconds", "When the process began, in seconds since 1970.", start),
            gauge("process_threads", "Threads of the process.", field(20)),
            gauge("process_virtual_memory_bytes", "Addresses that are in use.", field(23)),
        ].compactMap { $0 }
    }

    private static func openFiles() -> Double? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while let entry = readdir(folder) {
            // Neither the two that every folder has.
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        // Nor the one that is being read.
        return Double(count - 1)
    }

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }
}
