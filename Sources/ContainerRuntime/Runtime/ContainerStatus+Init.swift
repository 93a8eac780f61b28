// SPDX-License-Identifier: Apache-2.0

package import Values

extension ContainerStatus {
    /// A container without history: for those that stand in for a runtime in tests.
    package init(id: ContainerID, spec: ContainerSpec, state: State, createdAt: Timestamp) {
        self.init(
            id: id, name: spec.name, sandboxID: spec.sandboxID, attempt: spec.attempt, state: state, pid: nil,
            exitCode: nil, signal: nil, oomKilled: false, message: "", createdAt: createdAt, startedAt: nil,
            finishedAt: nil, image: spec.image.reference, imageID: spec.image.id, logPath: spec.logPath,
            terminationMessageFile: nil, labels: spec.labels, annotations: spec.annotations,
            user: UserIdentity(uid: 0, gid: 0), cgroupPath: "")
    }
}
