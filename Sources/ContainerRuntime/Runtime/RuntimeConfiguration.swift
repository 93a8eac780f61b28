// SPDX-License-Identifier: Apache-2.0

/// Where a runtime keeps its things. All paths are those of the process that uses it.
public struct RuntimeConfiguration: Sendable {
    /// Lost when the machine is started anew: pinned namespaces, sockets, crun's state, root file systems.
    public var stateDirectory: String
    /// Kept: what was asked for and how it ended, writable layers.
    public var persistentDirectory: String
    public var cniConfDir: String
    public var cniBinDir: String
    /// Where plugins' results are kept, by the CNI specification's convention.
    public var cniCacheDir: String
    /// The socket at which the plugins' agent listens: when it appears, the network may be asked again. Nil where the
    /// plugins have none.
    public var networkAgentSocket: String?
    /// The parent of pods' cgroups that name none.
    public var cgroupParent: String
    public var images: ImageStore
    public var crunPath: String?
    public var conmonPath: String?

    public init(
        stateDirectory: String = "/run/catbird-runtime", persistentDirectory: String = "/var/lib/catbird-runtime",
        cniConfDir: String = "/etc/cni/net.d", cniBinDir: String = "/opt/cni/bin",
        cniCacheDir: String = "/var/lib/cni/results", networkAgentSocket: String? = nil,
        cgroupParent: String = "/catbird", images: ImageStore,
        crunPath: String? = nil, conmonPath: String? = nil
    ) {
        self.stateDirectory = stateDirectory
        self.persistentDirectory = persistentDirectory
        self.cniConfDir = cniConfDir
        self.cniBinDir = cniBinDir
        self.cniCacheDir = cniCacheDir
        self.networkAgentSocket = networkAgentSocket
        self.cgroupParent = cgroupParent
        self.images = images
        self.crunPath = crunPath
        self.conmonPath = conmonPath
    }
}
