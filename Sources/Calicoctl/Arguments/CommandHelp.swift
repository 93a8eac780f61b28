// SPDX-License-Identifier: Apache-2.0

import Sessions

/// What each command of calicoctl takes: its help, and the options that mean something to it.
struct CommandHelp: Sendable {
    /// `ipam show`
    let command: String
    let synopsis: String
    let text: String
    /// Keys of ``Arguments``, with what they are for.
    let options: [(key: String, form: String, text: String)]

    /// Taken everywhere.
    private static let common: [(key: String, form: String, text: String)] = [
        ("help", "-h --help", "Show this screen."), ("config", "-c --config=<FILE>", "How to reach the cluster."),
        ("context", "   --context=<NAME>", "The kubeconfig context to use."),
        ("kubeconfig", "   --kubeconfig=<FILE>", "The kubeconfig to use."),
        ("log-level", "-l --log-level=<LEVEL>", "Accepted."),
        ("allow-version-mismatch", "   --allow-version-mismatch", "Accepted: versions never stand in the way."),
    ]

    private static let file = (
        key: "filename", form: "-f --filename=<FILE>", text: "A file or folder of YAML or JSON; - is stdin."
    )
    private static let folders = (key: "recursive", form: "-R --recursive", text: "Folders below the folder too.")
    private static let namespace = (
        key: "namespace", form: "-n --namespace=<NS>", text: "Of namespaced kinds; default is default."
    )
    private static let skipEmpty = (key: "skip-empty", form: "   --skip-empty", text: "No documents are no error.")
    private static let output = (
        key: "output", form: "-o --output=<FORM>", text: "The form of what is printed, or the file of a report."
    )

    static let all: [CommandHelp] = [
        CommandHelp(
            command: "get", synopsis: "get (KIND[,KIND] [NAME...] | -f FILE)", text: "Shows resources.",
            options: [
                file, folders, namespace, skipEmpty,
                (
                    "output", "-o --output=<FORM>",
                    "ps, wide, yaml, json, custom-columns=, go-template=, go-template-file=."
                ),
                ("all-namespaces", "-A --all-namespaces", "Of every namespace."),
                ("export", "   --export", "Without what belongs to this cluster alone."),
            ]),
        CommandHelp(
            command: "create", synopsis: "create -f FILE", text: "Makes resources; those that exist are an error.",
            options: [file, folders, namespace, skipEmpty, ("skip-exists", "   --skip-exists", "They are none.")]),
        CommandHelp(
            command: "apply", synopsis: "apply -f FILE", text: "Makes resources, or replaces those that exist.",
            options: [file, folders, namespace, skipEmpty]),
        CommandHelp(
            command: "replace", synopsis: "replace -f FILE", text: "Replaces resources that exist.",
            options: [file, folders, namespace, skipEmpty]),
        CommandHelp(
            command: "delete", synopsis: "delete (KIND NAME... | -f FILE)", text: "Deletes resources.",
            options: [
                file, folders, namespace, skipEmpty,
                ("skip-not-exists", "-s --skip-not-exists", "Those that do not exist are no error."),
            ]),
        CommandHelp(
            command: "validate", synopsis: "validate -f FILE", text: "Checks resources without a cluster.",
            options: [file, folders, namespace, skipEmpty]),
        CommandHelp(
            command: "convert", synopsis: "convert -f FILE", text: "Shows resources of a file as projectcalico.org/v3.",
            options: [
                file, folders, output,
                ("ignore-validation", "   --ignore-validation", "Also those that are not valid."),
            ]),
        CommandHelp(
            command: "patch", synopsis: "patch KIND NAME -p PATCH", text: "Changes fields of a resource.",
            options: [
                namespace, ("patch", "-p --patch=<PATCH>", "JSON or YAML, merged into the resource."),
                ("type", "-t --type=<TYPE>", "Accepted: the patch is merged."),
            ]),
        CommandHelp(
            command: "label", synopsis: "label KIND NAME (KEY=VALUE | KEY --remove)", text: "Changes a label.",
            options: [
                namespace, ("overwrite", "   --overwrite", "Change a label that is there."),
                ("remove", "   --remove", "Take the label away."),
            ]),
        CommandHelp(
            command: "version", synopsis: "version", text: "Shows the versions of this client and of the cluster.",
            options: [
                ("client", "   --client", "This client's only."),
                ("poll", "   --poll=<DURATION>", "Ask the cluster again and again until it answers."),
            ]),
        CommandHelp(
            command: "ipam show", synopsis: "ipam show", text: "Shows pools and the addresses in use.",
            options: [
                ("ip", "   --ip=<IP>", "Who holds an address."),
                ("show-blocks", "   --show-blocks", "The blocks of each pool too."),
                ("show-borrowed", "   --show-borrowed", "Addresses of other nodes' blocks."),
                ("show-configuration", "   --show-configuration", "The settings of IPAM."),
            ]),
        CommandHelp(
            command: "ipam check", synopsis: "ipam check", text: "Compares IPAM's objects with pods and nodes.",
            options: [
                output, ("show-all-ips", "   --show-all-ips", "Every address that was looked at."),
                ("show-problem-ips", "   --show-problem-ips", "Addresses that are leaked or not in a pool."),
            ]),
        CommandHelp(
            command: "ipam release", synopsis: "ipam release (--ip IP | --from-report FILE...)",
            text: "Frees an address, or what reports of ipam check call leaked.",
            options: [
                ("ip", "   --ip=<IP>", "The address."),
                ("from-report", "   --from-report=<FILE>", "A report; of several, what all say."),
                ("force", "   --force", "Also while the datastore is not locked."),
            ]),
        CommandHelp(
            command: "ipam configure", synopsis: "ipam configure", text: "Changes the settings of IPAM.",
            options: [
                ("strictaffinity", "   --strictaffinity=<true|false>", "No addresses from other nodes' blocks."),
                ("max-blocks-per-host", "   --max-blocks-per-host=<N>", "0 is no limit of its own."),
                (
                    "kubevirt-ip-persistence", "   --kubevirt-ip-persistence=<Enabled|Disabled>",
                    "Stored; nothing acts upon it."
                ),
                ("ip-cooldown-seconds", "   --ip-cooldown-seconds=<N>", "How long a freed address rests; to 1200."),
            ]),
        CommandHelp(
            command: "ipam split", synopsis: "ipam split N (--cidr CIDR | --name POOL)",
            text: "Splits a pool in N of equal size, a power of two.",
            options: [
                ("cidr", "   --cidr=<CIDR>", "The pool's network."), ("name", "   --name=<POOL>", "The pool's name."),
            ]),
        CommandHelp(
            command: "node status", synopsis: "node status", text: "Shows the BGP sessions of this machine's BIRD.",
            options: [("bird-socket", "   --bird-socket=<FILE>", "Where BIRD listens.")]),
        CommandHelp(
            command: "node diags", synopsis: "node diags", text: "Collects what this machine says of its network.",
            options: [("log-dir", "   --log-dir=<FOLDER>", "A folder of logs to add.")]),
        CommandHelp(
            command: "node checksystem", synopsis: "node checksystem",
            text: "Looks for what the agent needs of the kernel.",
            options: [file]),
        CommandHelp(
            command: "cluster diags", synopsis: "cluster diags", text: "Collects what the cluster says of itself.",
            options: [
                ("since", "   --since=<DURATION>", "Logs of this time only."),
                ("max-logs", "   --max-logs=<N>", "Logs of a kind of pod."),
                ("max-parallelism", "   --max-parallelism=<N>", "Logs read at once."),
                ("focus-nodes", "   --focus-nodes=<NAMES>", "Nodes whose logs come first."),
                ("skip-temp-dir-cleanup", "   --skip-temp-dir-cleanup", "Leave the folder that was packed."),
            ]),
        CommandHelp(
            command: "datastore migrate", synopsis: "datastore migrate (export | import -f FILE | lock | unlock)",
            text: "Locks the datastore, and takes what is in it elsewhere and back.", options: [file]),
    ]

    /// The command that the words begin with.
    static func find(_ words: [String]) -> CommandHelp? {
        all.first { $0.command == words.prefix(2).joined(separator: " ") } ?? all.first { $0.command == words.first }
    }

    /// The first option that means nothing to the command.
    func stranger(among given: [(key: String, word: String)]) -> String? {
        let known = Set((options + Self.common).map(\.key))
        return given.first { !known.contains($0.key) }?.word
    }

    var page: String {
        let lines = (options + Self.common).map { option in
            let form = option.form + String(repeating: " ", count: max(1, 45 - option.form.count))
            return "  \(form)\(option.text)"
        }
        return """
            Usage:
              calicoctl \(synopsis) [options]

            \(text)

            Options:
            \(lines.joined(separator: "\n"))

            """
    }
}
