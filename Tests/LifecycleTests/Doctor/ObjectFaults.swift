// SPDX-License-Identifier: Apache-2.0

/// Faults that are objects of the API: each has its own, so that all can be there at the same time.
enum ObjectFaults {
    static let namespace = "shop"
    private static let image = "catbird/lab-frontend:v1"

    static let all: [Fault] = pods + scheduling + workloads + services + ingresses

    // MARK: - Manifests

    /// `container` and `spec` are further fields, as YAML between braces has them.
    private static func pod(
        _ name: String, image: String = image, container: String = "", spec: String = "", metadata: String = ""
    ) -> String {
        """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: \(namespace), labels: {app: \(name)}\(comma(metadata))}
        spec:
          {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "\(image)"\(comma(container))}]\(comma(spec))}

        """
    }

    private static func deployment(
        _ name: String, replicas: Int = 1, container: String = "", spec: String = "", more: String = "",
        namespace: String = namespace
    ) -> String {
        """
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: \(name), namespace: \(namespace)}
        spec:
          replicas: \(replicas)
          selector: {matchLabels: {app: \(name)}}
          template:
            metadata: {labels: {app: \(name)}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{name: c, image: "\(image)"\(comma(container))}]
        \(spec.isEmpty ? "" : "      " + spec)
        \(more.isEmpty ? "" : "  " + more)

        """
    }

    private static func service(_ name: String, app: String, port: String) -> String {
        """
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: \(namespace)}
        spec: {selector: {app: \(app)}, ports: [{\(port)}]}

        """
    }

    private static func ingress(_ name: String, _ service: String, port: Int, tls: String = "") -> String {
        """
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: \(name), namespace: \(namespace)}
        spec:
          ingressClassName: built-in
          rules:
            - host: a.test
              http:
                paths: [{path: /, pathType: Prefix, backend: {service: {name: \(service), port: {number: \(port)}}}}]
        \(tls.isEmpty ? "" : "  tls: [{secretName: \(tls)}]")

        """
    }

    private static func comma(_ text: String) -> String { text.isEmpty ? "" : ", \(text)" }

    private static func shell(_ line: String) -> String { "command: [sh, -c, \"\(line)\"]" }

    // MARK: - Pods

    private static let pods: [Fault] = [
        Fault(
            "A ConfigMap of a container's variables is missing", "pod shop/variables, container c", .cures,
            pod("variables", container: "envFrom: [{configMapRef: {name: settings}}]")),
        Fault(
            "A Secret of a container's variables is missing", "pod shop/password, container c", .cures,
            pod("password", container: "env: [{name: PW, valueFrom: {secretKeyRef: {name: login, key: pw}}}]")),
        Fault(
            "A ConfigMap of a volume is missing", "pod shop/files", .cures,
            pod(
                "files", container: "volumeMounts: [{name: v, mountPath: /v}]",
                spec: "volumes: [{name: v, configMap: {name: pages}}]")),
        Fault(
            "A folder of the node that a volume needs is missing", "pod shop/folder", .cures,
            pod(
                "folder", container: "volumeMounts: [{name: v, mountPath: /v}]",
                spec: "volumes: [{name: v, hostPath: {path: /srv/data, type: Directory}}]")),
        Fault(
            "A program ends with an error", "pod shop/crash, container c", .prints("no database at db:5432"),
            pod("crash", container: shell("echo no database at db:5432; exit 3"))),
        Fault(
            "A container's program is not in its image", "pod shop/program, container c", .none,
            pod("program", container: "command: [/nowhere]")),
        Fault(
            "A container takes more memory than its limit", "pod shop/hungry, container c", .none,
            pod(
                "hungry",
                container: "resources: {limits: {memory: 6Mi}}, " + shell("x=a; while true; do x=$x$x; done"))),
        Fault(
            "A liveness probe fails", "pod shop/sick, container c", .none,
            pod(
                "sick",
                container: "livenessProbe: {exec: {command: [sh, -c, 'echo out of order; exit 1']}, periodSeconds: 1, "
                    + "failureThreshold: 1}, " + shell("sleep 1000"))),
        Fault(
            "A readiness probe fails", "pod shop/unready, container c", .prints(""),
            pod(
                "unready", container: "readinessProbe: {httpGet: {path: /ready, port: 3001}, periodSeconds: 1}")),
        Fault(
            "A startup probe fails", "pod shop/slow, container c", .prints(""),
            pod(
                "slow",
                container: "startupProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 1000}")),
        Fault(
            "An init container does not end", "pod shop/waits, init container i", .prints("waiting for db"),
            pod(
                "waits",
                spec: "initContainers: [{name: i, image: \"\(image)\", "
                    + shell("echo waiting for db; sleep 1000") + "}]")),
        Fault(
            "An image cannot be pulled", "pod shop/image, container c", .none,
            pod("image", image: "127.0.0.1:5/shop:v1")),
        Fault(
            "An image is not there and must not be pulled", "pod shop/never, container c", .none,
            pod("never", image: "example.test/shop:v1", container: "imagePullPolicy: Never")),
        Fault(
            "A readiness gate is not open", "pod shop/gate", .cures,
            pod("gate", spec: "readinessGates: [{conditionType: example.com/open}]")),
        Fault(
            "A deleted pod waits for a finalizer", "pod shop/held", .cures,
            pod("held", metadata: "finalizers: [example.com/hold]")),
    ]

    private static let scheduling: [Fault] = [
        Fault(
            "No node has room for a pod", "pod shop/big", .prints("Allocated resources"),
            pod("big", container: "resources: {requests: {cpu: '400'}}")),
        Fault(
            "No node has the label that a pod asks for", "pod shop/picky", .cures,
            pod("picky", spec: "nodeSelector: {disk: ssd}")),
        Fault(
            "A scheduling gate holds a pod", "pod shop/gated", .cures,
            pod("gated", spec: "schedulingGates: [{name: example.com/wait}]")),
        Fault(
            "A pod asks for a scheduler that is not there", "pod shop/other", .none,
            pod("other", spec: "schedulerName: other")),
    ]

    // MARK: - Workloads

    private static let workloads: [Fault] = [
        Fault(
            "A quota refuses pods", "deployment shop-quota/limited", .prints("pods"),
            """
            ---
            apiVersion: v1
            kind: Namespace
            metadata: {name: shop-quota}
            ---
            apiVersion: v1
            kind: ResourceQuota
            metadata: {name: small, namespace: shop-quota}
            spec: {hard: {pods: "1"}}

            """ + deployment("limited", replicas: 2, namespace: "shop-quota")),
        Fault(
            "A workload's service account is missing", "deployment shop/accountless", .cures,
            deployment("accountless", spec: "serviceAccountName: clerk")),
        Fault(
            "Pod security refuses pods", "deployment shop-strict/plain", .cures,
            """
            ---
            apiVersion: v1
            kind: Namespace
            metadata: {name: shop-strict, labels: {pod-security.kubernetes.io/enforce: restricted}}

            """ + deployment("plain", namespace: "shop-strict")),
        Fault(
            "A Deployment's pods are not Ready", "deployment shop/below", .none,
            deployment("below", container: "envFrom: [{configMapRef: {name: none}}]")),
        Fault(
            "A Deployment is paused", "deployment shop/paused", .cures, deployment("paused", more: "paused: true")),
        Fault(
            "A DaemonSet's selector matches no node", "daemonset shop/nowhere", .cures,
            """
            ---
            apiVersion: apps/v1
            kind: DaemonSet
            metadata: {name: nowhere, namespace: shop}
            spec:
              selector: {matchLabels: {app: nowhere}}
              template:
                metadata: {labels: {app: nowhere}}
                spec: {nodeSelector: {gpu: "yes"}, containers: [{name: c, image: "\(image)"}]}

            """),
    ]

    // MARK: - What leads to pods

    private static let services: [Fault] = [
        Fault(
            "A Service's selector differs by a word", "service shop/word", .cures,
            deployment("front", container: "ports: [{name: http, containerPort: 3000}]")
                + service("word", app: "front-deployment", port: "port: 80, targetPort: 3000")),
        Fault(
            "A Service's selector has another key", "service shop/key", .cures,
            """
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: key, namespace: shop}
            spec: {selector: {k8s-app: front}, ports: [{port: 80, targetPort: 3000}]}

            """),
        Fault(
            "A Service's targetPort is a name that no container has", "service shop/named", .cures,
            service("named", app: "front", port: "port: 80, targetPort: web")),
        Fault(
            "Nothing listens on a Service's targetPort", "service shop/numbered", .cures,
            service("numbered", app: "front", port: "port: 80, targetPort: 8080")),
        Fault(
            "None of a Service's pods is Ready", "service shop/unready", .prints("Readiness probe failed"),
            service("unready", app: "unready", port: "port: 80, targetPort: 3000")),
    ]

    private static let ingresses: [Fault] = [
        Fault(
            "An Ingress has no controller", "ingress shop/uncontrolled", .none,
            ingress("uncontrolled", "word", port: 80)),
        Fault(
            "An Ingress's Secret is missing", "ingress shop/secretless", .none,
            ingress("secretless", "word", port: 80, tls: "certificate")),
        Fault(
            "An Ingress's Service is missing", "ingress shop/misspelt", .cures,
            ingress("misspelt", "wrod", port: 80)),
        Fault(
            "An Ingress's port is not its Service's", "ingress shop/port", .cures, ingress("port", "word", port: 8080)),
        Fault(
            "A kind of object that nobody acts on", "statefulset shop/unheeded", .cures,
            """
            ---
            apiVersion: apps/v1
            kind: StatefulSet
            metadata: {name: unheeded, namespace: shop}
            spec:
              serviceName: unheeded
              selector: {matchLabels: {app: unheeded}}
              template:
                metadata: {labels: {app: unheeded}}
                spec: {containers: [{name: c, image: "\(image)"}]}

            """),
    ]
}
