// SPDX-License-Identifier: Apache-2.0

/// The images that come with Catbird.
public enum BuiltinImages {
    /// Their tag.
    public static let version = "v1"

    public static let all: [BuiltinImage] = [node, dns, ctl, labFrontend, pause]

    private static let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// The images of Calico's own components, here one; the newer `calico/calico` holds all of them.
    private static let calicos = [
        "node", "cni", "kube-controllers", "typha", "pod2daemon-flexvol", "csi", "node-driver-registrar", "apiserver",
        "calico",
    ].flatMap { ["calico/\($0)", "quay.io/calico/\($0)"] }

    /// The node agent and the CNI plugin that it installs.
    public static let node = BuiltinImage(
        name: "catbird/node", standsInFor: calicos,
        layers: [
            .busybox, .catbird, .bird, .files([BuiltinImage.File("/usr/bin/calicoctl", linkTo: "/usr/bin/catbird")]),
        ], entrypoint: ["/usr/bin/catbird", "agent"],
        environment: [path])

    public static let dns = BuiltinImage(
        name: "catbird/dns", layers: [.busybox, .catbird], entrypoint: ["/usr/bin/catbird", "dns"], environment: [path],
        exposedPorts: ["53/udp", "53/tcp", "9153/tcp"])

    /// `calicoctl` where the original image has it.
    public static let ctl = BuiltinImage(
        name: "catbird/ctl", standsInFor: ["calico/ctl", "quay.io/calico/ctl"],
        layers: [
            .busybox, .catbird,
            .files(
                ["/calicoctl", "/usr/bin/calicoctl", "/usr/local/bin/calicoctl"].map {
                    BuiltinImage.File($0, linkTo: "/usr/bin/catbird")
                }),
        ],
        entrypoint: ["/calicoctl"], environment: [path])

    /// Does nothing, and reaps the processes of a pod whose containers share theirs.
    public static let pause = BuiltinImage(
        name: "catbird/pause", standsInFor: ["registry.k8s.io/pause", "k8s.gcr.io/pause"], layers: [.busybox],
        entrypoint: ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"],
        environment: [path])

    /// A page about the container that serves it.
    public static let labFrontend = BuiltinImage(
        name: "catbird/lab-frontend", standsInFor: ["ifilyaninitmo/itdt-contained-frontend"],
        layers: [
            .busybox,
            .files([
                BuiltinImage.File("/usr/bin/lab-frontend", permissions: 0o755, text: frontendScript),
                BuiltinImage.File("/usr/libexec/lab-frontend-answer", permissions: 0o755, text: frontendAnswer),
            ]),
        ], entrypoint: ["/usr/bin/lab-frontend"], environment: [path],
        exposedPorts: ["3000/tcp"])

    /// Makes the page once, and answers whatever is asked with it. The first process of a container is deaf to signals
    /// that it does not catch.
    private static let frontendScript = #"""
        #!/bin/sh
        escaped() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }
        name=$(hostname)
        address=$(hostname -i 2>/dev/null | cut -d' ' -f1)
        if [ -z "$address" ]; then
            address=$(ip -4 -o addr show scope global 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1)
        fi
        page=$(
            cat <<PAGE
        <!DOCTYPE html>
        <html lang="en">
        <head><meta charset="utf-8"><title>$(escaped "$name")</title></head>
        <body>
        <p>REACT_APP_USERNAME: $(escaped "$REACT_APP_USERNAME")</p>
        <p>REACT_APP_COMPANY_NAME: $(escaped "$REACT_APP_COMPANY_NAME")</p>
        <p>Container name: $(escaped "$name")</p>
        <p>Container IP: $(escaped "$address")</p>
        </body>
        </html>
        PAGE
        )
        export page
        export length=$(printf '%s\n' "$page" | wc -c)
        trap 'kill "$server"; exit 0' TERM INT
        nc -ll -p 3000 -e /usr/libexec/lab-frontend-answer &
        server=$!
        echo "listening on port 3000"
        wait "$server"

        """#

    /// One request on the standard input, its answer on the standard output. Who asks has a minute for each line.
    private static let frontendAnswer = #"""
        #!/bin/sh
        end=$(printf '\r')
        IFS= read -r -t 60 request || exit
        body=0
        while IFS= read -r -t 60 line && [ -n "${line%"$end"}" ]; do
            case $line in
            [Cc]ontent-[Ll]ength:*) body=$(printf '%s' "${line#*:}" | tr -cd 0-9) ;;
            [Ee]xpect:*) printf 'HTTP/1.1 100 Continue\r\n\r\n' ;;
            esac
        done
        # What is not read would reset the connection.
        [ "${body:-0}" = 0 ] || head -c "$body" >/dev/null
        echo "${request%"$end"}" >&2
        printf 'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n'
        printf 'Content-Length: %s\r\nConnection: close\r\n\r\n' "$length"
        case $request in
        HEAD*) ;;
        *) printf '%s\n' "$page" ;;
        esac

        """#
}
