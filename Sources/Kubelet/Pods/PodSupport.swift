// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What pods may ask for and this kubelet does not do. Nothing of it is passed over in silence: without what would make
/// a pod another one than was asked for, the pod does not run; the rest is warned about.
extension PodView {
    /// What the pod asks for and this kubelet cannot do: said at once, for a pod that hangs teaches nothing.
    package var unsupported: String? {
        if let sidecar = initContainers.first(where: { $0.json["restartPolicy"].string == "Always" }) {
            return "init container \(sidecar.name): restartPolicy Always (a sidecar) is not supported yet;"
                + " move it to spec.containers"
        }
        for container in allContainers { if let refusal = Self.unsupported(container) { return refusal } }
        if spec["hostUsers"].bool == false { return "spec.hostUsers: false (a user namespace) is not supported yet" }
        if spec["resourceClaims"].array?.isEmpty == false {
            return "spec.resourceClaims (devices of ResourceClaims) are not supported yet"
        }
        if let name = spec["hostnameOverride"].string, !name.isEmpty {
            return "spec.hostnameOverride: \(name) is not supported yet; use spec.hostname"
        }
        if spec["securityContext"]["supplementalGroupsPolicy"].string == "Strict" {
            return "spec.securityContext.supplementalGroupsPolicy: Strict is not supported yet"
        }
        for volume in spec["volumes"].array ?? [] {
            guard let medium = volume["emptyDir"]["medium"].string, medium.hasPrefix("HugePages") else { continue }
            return "volume \(volume["name"].string ?? ""): emptyDir.medium \(medium) is not supported; use Memory"
        }
        return nil
    }

    private static func unsupported(_ container: ContainerView) -> String? {
        let json = container.json
        let title = "container \(container.name)"
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] where json[probe]["grpc"] != nil {
            return "\(title): \(probe).grpc is not supported yet; use httpGet, tcpSocket or exec"
        }
        if let device = json["volumeDevices"].array?.first?["name"].string {
            return "\(title): block device \(device) is not supported"
        }
        // An init container with Always is a sidecar, which was looked for before.
        if let policy = json["restartPolicy"].string {
            return
                "\(title): restartPolicy \(policy) of a single container is not supported yet; use spec.restartPolicy"
        }
        if json["resources"]["claims"].array?.isEmpty == false {
            return "\(title): resources.claims are not supported yet"
        }
        if let signal = json["lifecycle"]["stopSignal"].string {
            return "\(title): lifecycle.stopSignal \(signal) is not supported yet; the image's STOPSIGNAL is obeyed"
        }
        if let mount = (json["volumeMounts"].array ?? []).first(where: { $0["recursiveReadOnly"].string == "Enabled" })
        {
            return
                "\(title): recursiveReadOnly: Enabled of volume mount \(mount["name"].string ?? "") is not supported;"
                + " use IfPossible"
        }
        return nil
    }

    /// What the pod asks for and runs without, as the API server's warnings name it.
    package var notActedUpon: [String] {
        Unheeded.facts(object).map { "\($0.field) has no effect: \($0.message)" }
    }
}
