// SPDX-License-Identifier: Apache-2.0

/// Images on this machine: content-addressed, unpacked once, shared by all nodes and all profiles.
public final class ImageStore: Sendable {
    public let root: String
    /// Whether built-in images answer for the originals that they stand in for.
    public let usesStandIns: Bool

    public init(root: String = "/var/lib/catbird/images", usesStandIns: Bool = true) {
        self.root = root
        self.usesStandIns = usesStandIns
    }

    /// The image of that reference, or of that id, if it is here. Built-in images answer for their originals.
    public func image(_ reference: String) -> LocalImage? { nil }

    /// Fetches the image from its registry unless what is here is the same.
    public func pull(_ reference: String, credentials: [RegistryCredential] = []) async throws -> LocalImage {
        throw ImageError(.other, "not yet")
    }

    /// Takes in the images of a docker or OCI archive and returns their references.
    public func load(archive path: String) async throws -> [String] { throw ImageError(.other, "not yet") }

    public func list() -> [LocalImage] { [] }

    /// Takes the reference away; layers that no image and no container uses any more go with it.
    public func remove(_ reference: String) throws {}

    public func installBuiltins(_ images: [BuiltinImage] = []) throws {}
}
