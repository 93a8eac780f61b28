// SPDX-License-Identifier: Apache-2.0

import Linux
public import PKI
public import Values

/// The keys and certificates of a profile: one authority signs everything, as on a kubeadm cluster.
public struct ProfilePKI: Sendable {
    public let authority: CertificateAuthority
    /// Signs service-account tokens.
    public let tokenSigner: TokenSigner
    let folder: String

    /// Reads the profile's keys, or makes them when there are none yet: as long as there are no objects either, which
    /// hold what was signed with them.
    ///
    /// - Throws: ``Damage`` when one of them is missing, cannot be read, or is not good now.
    public init(paths: ProfilePaths) throws {
        folder = paths.pki
        try Files.makeDirectories(folder, mode: 0o700)
        if Files.exists("\(folder)/ca.crt") || Files.exists(paths.database) {
            (authority, tokenSigner) = try Self.readAuthority(folder)
        } else {
            authority = try CertificateAuthority.create(commonName: "catbird-ca")
            tokenSigner = TokenSigner.create()
            // The authority's certificate last: without it, whatever else is there is made again.
            try write("sa.key", tokenSigner.privateKeyPEM)
            try write("ca.key", authority.privateKeyPEM)
            try write("ca.crt", authority.certificatePEM)
        }
    }

    private func write(_ name: String, _ text: String) throws {
        try Files.replace("\(folder)/\(name)", with: Array(text.utf8), mode: 0o600)
    }

    /// The pair kept under `name`, made by `issue` when it is not there.
    private func kept(_ name: String, _ issue: () throws -> IssuedCertificate) throws -> IssuedCertificate {
        if let certificate = try? Files.text("\(folder)/\(name).crt"),
            let key = try? Files.text("\(folder)/\(name).key")
        {
            return IssuedCertificate(certificatePEM: certificate, privateKeyPEM: key)
        }
        let issued = try issue()
        try write("\(name).key", issued.privateKeyPEM)
        try write("\(name).crt", issued.certificatePEM)
        return issued
    }

    /// The API server's certificate, good for every name and address that clients know it by.
    public func apiServer(address: IPAddress, serviceAddress: IPAddress) throws -> IssuedCertificate {
        try kept("apiserver") {
            try authority.issue(
                commonName: "kube-apiserver",
                dnsNames: [
                    "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local", "localhost", "control-plane.catbird.internal",
                ],
                ipAddresses: [address, serviceAddress, IPAddress(127, 0, 0, 1)], usages: [.server])
        }
    }

    /// What the API server shows to kubelets.
    public func kubeletClient() throws -> IssuedCertificate {
        try kept("apiserver-kubelet-client") {
            try authority.issue(
                commonName: "kube-apiserver-kubelet-client", organizations: ["system:masters"], usages: [.client])
        }
    }

    /// The user of the kubeconfig.
    public func administrator() throws -> IssuedCertificate {
        try kept("admin") {
            try authority.issue(commonName: "catbird-admin", organizations: ["system:masters"], usages: [.client])
        }
    }

    /// A node's identity towards the API server.
    public func node(_ name: String) throws -> IssuedCertificate {
        try kept("node-\(name)") {
            try authority.issue(
                commonName: "system:node:\(name)", organizations: ["system:nodes"], usages: [.client])
        }
    }

    /// What a node's kubelet serves with.
    public func kubeletServer(_ name: String, address: IPAddress) throws -> IssuedCertificate {
        try kept("kubelet-\(name)") {
            try authority.issue(
                commonName: "system:node:\(name)", organizations: ["system:nodes"], dnsNames: [name],
                ipAddresses: [address], usages: [.server])
        }
    }
}
