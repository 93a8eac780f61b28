// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
import KubeClient
import KubeObjects
import Values
import YAMLCoding

/// `datastore migrate`: locks the datastore, and takes what is in it elsewhere and back.
extension Session {
    private static let migrated: [String] = [
        "IPPool", "IPReservation", "IPAMConfiguration", "BGPConfiguration", "BGPPeer", "BGPFilter",
        "ClusterInformation", "FelixConfiguration", "KubeControllersConfiguration", "Tier", "HostEndpoint",
        "GlobalNetworkPolicy", "GlobalNetworkSet", "NetworkPolicy", "NetworkSet",
    ]
    /// IPAM's own objects: not for `get`, but the addresses in use are in them.
    private static let state: [(kind: String, resource: GroupVersionResource)] = [
        ("IPAMBlock", .ipamBlocks), ("BlockAffinity", .blockAffinities), ("IPAMHandle", .ipamHandles),
    ]

    func datastore() async throws {
        if arguments.words.dropFirst() == ["migrate-policy-names"] {
            throw Failure(
                "migrate-policy-names is for an etcdv3 datastore from before Calico 3.32: this cluster's datastore is the Kubernetes API, and its policies have the names that they were given"
            )
        }
        guard arguments.words.count == 3, arguments.words[1] == "migrate" else {
            throw Failure("datastore takes: migrate export | migrate import -f FILE | migrate lock | migrate unlock")
        }
        switch arguments.words[2] {
        case "lock": try await setReady(false)
        case "unlock": try await setReady(true)
        case "export": try await export()
        case "import": try await importAll()
        default:
            throw Failure(
                "datastore migrate \(arguments.words[2]) is not known: export, import -f FILE, lock or unlock")
        }
    }

    /// While the datastore is locked no address is given out or taken back.
    private func setReady(_ isReady: Bool) async throws {
        let client = try client()
        let word = isReady ? "unlocked" : "locked"
        if try await client.find(.clusterInformations, "default") == nil {
            try await client.create(
                .clusterInformations,
                KubeObject([
                    "apiVersion": "crd.projectcalico.org/v1", "kind": "ClusterInformation",
                    "metadata": ["name": "default"], "spec": ["datastoreReady": JSON(isReady)],
                ]))
        } else {
            try await client.patch(
                .clusterInformations, "default", type: .merge, ["spec": ["datastoreReady": JSON(isReady)]])
        }
        output("Datastore \(word).\n")
    }

    private func export() async throws {
        let client = try client()
        let information = try await client.find(.clusterInformations, "default")
        guard information?["spec"]["datastoreReady"].bool == false else {
            throw Failure(
                "Datastore is not locked. Run the 'calicoctl datastore migrate lock' command in order to begin migration."
            )
        }
        for name in Self.migrated {
            let kind = try ResourceKind.named(name)
            for object in try await listed(client, kind, nil).sorted(by: { $0.key < $1.key }) {
                tell(Self.outward(object, kind, export: true).json)
            }
        }
        for (kind, resource) in Self.state {
            for object in try await client.list(resource).items.sorted(by: { $0.key < $1.key }) {
                var json = object.json
                json["apiVersion"] = JSON(resource.apiVersion)
                json["kind"] = JSON(kind)
                for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
                    json["metadata"][key] = nil
                }
                tell(json)
            }
        }
    }

    private func tell(_ json: JSON) { output("---\n" + YAML.text(json)) }

    private func importAll() async throws {
        guard arguments.value("filename") != nil else { throw Failure("datastore migrate import needs -f FILE") }
        let client = try client()
        let documents = try rawDocuments()
        for (kind, resource) in Self.state {
            let there = try await client.list(resource).items.count
            guard there == 0 else {
                throw Failure(
                    "the datastore has \(there) \(kind) objects already: an import is for an empty datastore. Nothing was imported"
                )
            }
        }
        var count = 0
        for (path, json) in documents {
            var object = KubeObject(json)
            let resource: GroupVersionResource
            if let state = Self.state.first(where: { $0.kind == json["kind"].string }) {
                resource = state.resource
            } else {
                guard let kind = ResourceKind.ofDocument(kind: json["kind"].string ?? "") else {
                    throw Failure(
                        "\(path): unknown resource type '\(json["kind"].string ?? "")'; \(count) were imported")
                }
                resource = kind.resource
                object = Self.inward(object, kind)
            }
            if resource == .clusterInformations { object["spec"]["datastoreReady"] = false }
            do { try await client.create(resource, object) } catch let error as APIError where error.isAlreadyExists {
                let current = try await client.get(resource, object.name, in: object.namespace)
                object.metadata["resourceVersion"] = JSON(current.resourceVersion)
                try await client.update(resource, object)
            }
            count += 1
        }
        output(
            "Successfully imported \(count) resources. The datastore is locked: 'calicoctl datastore migrate unlock' ends the migration.\n"
        )
    }
}
