// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import Glibc
import KubeClient
import KubeObjects
import Linux
import LocalCluster
import PKI
import Testing
import Values

extension LifecycleTests {
    /// The table of docs/doctor.md on a real cluster: each fault is made, `doctor` has to say what the page says, and what
    /// it says to do next is typed.
    @Suite(.serialized, .enabled(if: geteuid() == 0))
    struct DoctorTests {
        @Test func everyFaultOfTheTableIsNamedWithItsCauseAndItsCure() async throws {
            let cluster = try await TestCluster("doctor")
            do {
                let table = try FaultRow.table(profile: cluster.profile)
                #expect(table.count >= 25)
                #expect(Set(table.map(\.fault)).count == table.count)
                let machine = MachineFaults(cluster)
                #expect(table.map(\.fault) == ObjectFaults.all.map(\.name) + machine.all.map(\.name))
                let rows = Dictionary(table.map { ($0.fault, $0) }, uniquingKeysWith: { first, _ in first })
                try await cluster.catbird("start", "--nodes", "2")
                let patient = try Patient(cluster)
                let healthy = try await patient.doctor()
                #expect(healthy.isEmpty, "of a new cluster: \(healthy)")
                try await objects(patient, rows)
                for fault in machine.all { try await one(fault, patient, rows) }
                try await cluster.catbird("delete")
                let leftovers = try await cluster.leftovers()
                #expect(leftovers == [])
            } catch {
                try await cluster.remove()
                throw error
            }
            try await cluster.remove()
        }

        /// All objects are made together, found together, and cured one after another.
        private func objects(_ patient: Patient, _ rows: [String: FaultRow]) async throws {
            let cluster = patient.cluster
            let faults = ObjectFaults.all
            try await cluster.kubectl("create", "namespace", ObjectFaults.namespace)
            try await cluster.apply(faults.map(\.manifests).joined())
            // Held by its finalizer once it has run.
            try await cluster.kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/held", "--timeout=60s")
            try await cluster.kubectl("delete", "pod", "held", "-n", "shop", "--wait=false")
            let wanted = faults.map { fault in (fault, rows[fault.name]) }
            _ = try await patient.wait { findings in
                wanted.filter { fault, row in
                    !findings.contains { $0.object == fault.object && row?.differences(from: $0).isEmpty == true }
                }.map { fault, row in
                    let seen = findings.filter { $0.object == fault.object }
                    return "\(fault.name): \(seen.map { row?.differences(from: $0) ?? [] }) of \(seen.map(\.reason))"
                }
            }
            let said = try await patient.doctor()
            for (fault, row) in wanted {
                let finding = said.first { $0.object == fault.object && $0.reason == row?.reason }
                // A container that is killed again and again is Ready for a moment in between.
                guard let finding else {
                    #expect(row?.reason == "LivenessProbe", "doctor does not name: \(fault.name)")
                    continue
                }
                #expect(row?.differences(from: finding) == [], "\(fault.name)")
                if case .prints(let text) = fault.trial {
                    let printed = try await cluster.typed(finding.nextStep)
                    #expect(text.isEmpty || printed.contains(text), "\(fault.name): \(printed)")
                }
            }
            var cured: [(Fault, String)] = []
            for (fault, row) in wanted {
                guard case .cures = fault.trial, let row,
                    let finding = said.first(where: { $0.object == fault.object && $0.reason == row.reason })
                else { continue }
                try await cluster.typed(finding.nextStep)
                cured.append((fault, row.reason))
            }
            let all = cured
            _ = try await patient.wait { findings in
                all.filter { fault, reason in
                    findings.contains { $0.object == fault.object && $0.reason == reason }
                }.map { "\($0.0.name) stays after its cure: \(findings.filter { $0.object.contains("shop") })" }
            }
            for namespace in ["shop", "shop-quota", "shop-strict"] {
                try await cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
            }
        }

        /// One fault at a time: what the machine or the whole cluster suffers from.
        private func one(_ fault: MachineFault, _ patient: Patient, _ rows: [String: FaultRow]) async throws {
            let row = try #require(rows[fault.name])
            try await fault.inject()
            var last: [Finding] = []
            var found: Finding?
            // Some show after a moment: the node has to be seen gone. Nothing tells of that but asking again.
            for _ in 0..<40 where found == nil {
                last = try await patient.doctor()
                found = last.first { $0.reason == row.reason && FaultRow.matches($0.object, fault.object) }
            }
            let finding = try #require(found, "\(fault.name): doctor says \(last)")
            #expect(row.differences(from: finding) == [], "\(fault.name)")
            switch fault.trial {
            case .cures: try await patient.cluster.typed(finding.nextStep)
            case .prints(let text):
                let printed = try await patient.cluster.typed(finding.nextStep)
                #expect(printed.contains(text), "\(fault.name): \(printed)")
            case .none: break
            }
            try await fault.takeBack()
            try await patient.cluster.waitForAPI()
            for _ in 0..<40 where last.contains(where: { $0.reason == row.reason }) {
                last = try await patient.doctor()
            }
            #expect(!last.contains { $0.reason == row.reason }, "\(fault.name) stays: \(last)")
        }
    }
}

/// The cluster that is examined.
struct Patient {
    let cluster: TestCluster
    private let profile: Profile
    private let access: ClusterAccess

    init(_ cluster: TestCluster) throws {
        self.cluster = cluster
        profile = try ProfileStore().load(ProfileName(cluster.profile))
        access = try ClusterAccess(running: ProfileName(cluster.profile))
    }

    /// What the command says, and that its exit code fits.
    func doctor() async throws -> [Finding] {
        let output = try await cluster.attempt(["doctor", "-o", "json"])
        guard let list = try? JSON(parsing: output.output).array else {
            throw TestCluster.Failure(description: "doctor: \(output.text)\(output.errorText)")
        }
        #expect(output.status == .exited(list.isEmpty ? 0 : 1))
        return list.compactMap { entry in
            guard let reason = entry["reason"].string, let object = entry["object"].string,
                let problem = entry["problem"].string, let cause = entry["cause"].string,
                let next = entry["nextStep"].string
            else { return nil }
            return Finding(reason, object: object, problem: problem, cause: cause, nextStep: next)
        }
    }

    /// Examines the API's objects again at each change, until nothing is missing any more.
    func wait(_ missing: @escaping @Sendable ([Finding]) -> [String]) async throws -> [Finding] {
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let client = access.client
        return try await withThrowingTaskGroup(of: [Finding]?.self) { group in
            for resource in [
                GroupVersionResource.pods, .events, .deployments, .daemonSets, .services, .nodes,
                GroupVersionResource("networking.k8s.io", "v1", "ingresses"),
            ] {
                group.addTask {
                    for try await _ in try await client.watch(resource) { change.yield() }
                    return nil
                }
            }
            let profile = profile
            group.addTask {
                var left: [String] = []
                // The limit of the whole wait: what never comes would be waited for without end.
                let end = ContinuousClock.now + .seconds(90)
                for await _ in changes {
                    let findings = try await Examination(client: client, local: LocalKnowledge(of: profile)).findings()
                    left = missing(findings)
                    if left.isEmpty { return findings }
                    if ContinuousClock.now > end { break }
                }
                throw TestCluster.Failure(description: left.joined(separator: "\n"))
            }
            defer { group.cancelAll() }
            while let result = try await group.next() { if let result { return result } }
            return []
        }
    }
}
