// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster

/// minikube's commands that Catbird does not have: each says so, and what does the same.
enum NotYet {
    private static let commands: [String: (message: String, nextStep: String)] = {
        let docker = (
            "There is no docker daemon inside the nodes.",
            "To bring an image into the cluster: docker save IMAGE > image.tar && catbird image load image.tar"
        )
        return [
            "dashboard": (
                "Catbird has no dashboard.",
                "To see what runs: kubectl get all -A. To see what is wrong: catbird doctor"
            ),
            "addons": (
                "Catbird has no addons: the network (calico-node) and DNS (coredns) are always there.",
                "To install something else: kubectl apply -f MANIFEST"
            ),
            "update-check": ("Catbird looks for no updates.", "catbird version"),
            "license": ("Catbird downloads no licenses.", "See LICENSE in its sources."),
            "options": ("Flags for minikube's log files are accepted and do nothing.", "catbird help COMMAND"),
            "pause": ("A cluster cannot be paused.", "To free what it uses, keeping its objects: catbird stop"),
            "unpause": ("A cluster cannot be paused.", "To start one that was stopped: catbird start"),
            "docker-env": docker, "podman-env": docker,
            "cache": ("There is no cache of images to keep: all clusters share one store.", "catbird image ls"),
            "mount": (
                "Folders of the machine cannot be mounted into nodes.", "To copy files: catbird cp SOURCE NODE:/PATH"
            ),
            "config": (
                "There are no settings to keep: what a start is given, it remembers.", "catbird start --help"
            ),
            "ssh-key": ("Nodes have no SSH server and no key.", "To look around in a node: catbird ssh -n NODE"),
            "ssh-host": ("Nodes have no SSH server and no key.", "To look around in a node: catbird ssh -n NODE"),
            "image build": (
                "Catbird builds no images.",
                "podman build -t NAME . && podman save NAME > image.tar && catbird image load image.tar"
            ),
            "image push": ("Catbird pushes no images.", "podman push NAME"),
            "image save": ("The store writes no archives.", "podman save NAME > image.tar"),
        ]
    }()

    /// Refuses a command that is not there, or that is minikube's and not Catbird's.
    static func check(_ arguments: [String], among verbs: [String]) throws(LocalClusterError) {
        guard let verb = arguments.first, !verb.hasPrefix("-") else { return }
        for words in [verb, arguments.prefix(2).joined(separator: " ")] {
            if let (message, nextStep) = commands[words] { throw .init(.usage, message, nextStep: nextStep) }
        }
        if verb == "node", arguments.count == 1 || arguments[1] == "--profile" {
            throw .init(.usage, "catbird node needs to be told what to do: list, add, delete, stop or start.")
        }
        guard !verbs.contains(verb), verb != "help" else { return }
        throw .init(
            .usage, "unknown command \"\(verb)\" for \"\(Invocation.isMinikube ? "minikube" : "catbird")\"",
            nextStep: "To see all: catbird help")
    }
}
