// SPDX-License-Identifier: Apache-2.0

/// The images that come with Catbird.
public enum BuiltinImages {
    /// Their tag.
    public static let version = "v1"

    public static let all: [BuiltinImage] = [
        BuiltinImage(name: "catbird/node", layers: [.busybox, .catbird], entrypoint: ["/usr/bin/catbird", "agent"]),
        BuiltinImage(
            name: "catbird/dns", layers: [.busybox, .catbird], entrypoint: ["/usr/bin/catbird", "dns"],
            exposedPorts: ["53/udp", "53/tcp", "9153/tcp"]),
        BuiltinImage(
            name: "catbird/ctl", standsInFor: ["docker.io/calico/ctl", "quay.io/calico/ctl"],
            layers: [.busybox, .catbird, .files([BuiltinImage.File("/calicoctl", linkTo: "/usr/bin/catbird")])],
            entrypoint: ["/calicoctl"]),
        BuiltinImage(
            name: "catbird/lab-frontend", standsInFor: ["docker.io/ifilyaninitmo/itdt-contained-frontend"],
            layers: [
                .busybox, .files([BuiltinImage.File("/www/cgi-bin/index.cgi", permissions: 0o755, text: labPage)]),
            ],
            entrypoint: ["/bin/busybox", "httpd", "-f", "-p", "3000", "-h", "/www"], workingDirectory: "/www",
            exposedPorts: ["3000/tcp"]),
        BuiltinImage(name: "catbird/pause", layers: [.busybox], entrypoint: ["/bin/sleep", "infinity"]),
    ]

    /// What the lab asks its page to show. busybox' httpd runs it for `/`, with the container's environment.
    private static let labPage = """
        #!/bin/sh
        escape() {
            printf '%s' "$1" | sed -e 's/&/\\&amp;/g' -e 's/</\\&lt;/g' -e 's/>/\\&gt;/g' -e 's/"/\\&quot;/g'
        }
        address=$(hostname -i 2>/dev/null)
        printf 'Content-Type: text/html; charset=utf-8\\r\\nCache-Control: no-store\\r\\n\\r\\n'
        cat <<PAGE
        <!DOCTYPE html>
        <html lang="en">
        <head><meta charset="utf-8"><title>Lab frontend</title></head>
        <body>
        <h1>Lab frontend</h1>
        <p>Container name: $(escape "$(hostname)")</p>
        <p>Container IP: $(escape "${address%% *}")</p>
        <p>REACT_APP_USERNAME: $(escape "$REACT_APP_USERNAME")</p>
        <p>REACT_APP_COMPANY_NAME: $(escape "$REACT_APP_COMPANY_NAME")</p>
        </body>
        </html>
        PAGE

        """
}
