// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging

/// Measures addresses, plugin and routes; beside each figure stands a ratio to a floor measured in the same run.
///
///     catbird-bench [engine] [scheduler] [cluster] [plugin] [routes] [steps] [services]
///     catbird-bench watch HOST:PORT WATCHERS ROUNDS
@main struct Bench {
    static func main() async throws {
        LoggingSystem.bootstrap { _ in SwiftLogNoOpLogHandler() }
        if CommandLine.arguments.dropFirst().first == "watch" {
            return try await WatchBench.run(Array(CommandLine.arguments.dropFirst(2)))
        }
        let asked = Set(CommandLine.arguments.dropFirst())
        func wants(_ name: String) -> Bool { asked.isEmpty || asked.contains(name) }
        if wants("engine") { try await EngineBench.run() }
        if wants("scheduler") { await SchedulerBench.run() }
        if wants("cluster") { try await ClusterBench.run() }
        guard geteuid() == 0 else {
            print("plugin, routes, steps and services need root: left out")
            return
        }
        if wants("plugin") { try await PluginBench.run() }
        if wants("routes") { try await RouteBench.run() }
        if wants("steps") { try await StepBench.run() }
        if wants("services") { try await ServiceBench.run() }
    }
}

enum Measure {
    /// Seconds that something takes.
    static func seconds(_ body: () async throws -> Void) async rethrows -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        try await body()
        return (clock.now - start) / .seconds(1)
    }

    /// The `part`th quantile.
    static func quantile(_ values: [Double], _ part: Double) -> Double {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
    }

    static func text(_ value: Double, _ digits: Int = 2) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let rounded = Int((value * scale).rounded())
        guard digits > 0 else { return "\(rounded)" }
        let fraction = "\(rounded % Int(scale))"
        return "\(rounded / Int(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
