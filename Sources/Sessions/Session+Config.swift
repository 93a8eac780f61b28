// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Linux
import Values
import YAMLCoding

/// The file of `-c`: a CalicoAPIConfig, of which a Kubernetes datastore needs the kubeconfig.
extension Session {
    private static let usualConfig = "/etc/calico/calicoctl.cfg"

    /// What `-c FILE` names, else what the usual file does where there is one; nil when neither names any.
    func configuredKubeconfig() throws -> String? {
        guard let path = arguments.value("config") ?? (Linux.Files.exists(Self.usualConfig) ? Self.usualConfig : nil)
        else { return nil }
        let json: JSON
        do { json = try YAML.document(String(decoding: try Self.read(path), as: UTF8.self)) } catch let error as Failure
        {
            throw error
        } catch {
            throw Failure("unable to read configuration file \(path): \(error)")
        }
        guard json["kind"].string == "CalicoAPIConfig" else {
            throw Failure(
                "configuration file \(path): kind is '\(json["kind"].string ?? "")', and it must be CalicoAPIConfig")
        }
        let type = json["spec"]["datastoreType"].string ?? "kubernetes"
        guard type == "kubernetes" else {
            throw Failure(
                "configuration file \(path): spec.datastoreType '\(type)' is not available in Catbird: use kubernetes")
        }
        return json["spec"]["kubeconfig"].string.flatMap { $0.isEmpty ? nil : $0 }
    }
}
