// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

extension LifecycleTests {
    /// What is printed for clusters elsewhere reaches the API by a Service, which the agent itself has yet to make.
    @Test func manifestsAppliedOverTheirOwnClusterDoNotEndIt() async throws {
        try await withCluster("over") { cluster in
            try await cluster.catbird("start")
            let file = "\(cluster.folder)/manifests.yaml"
            let line = try CommandLine()
            let printed = try await line.run(["manifests"]).text
            line.remove()
            try Files.replace(file, with: printed.utf8)
            try await cluster.kubectl("apply", "-f", file)
            try await cluster.kubectl(
                "set", "image", "-n", "kube-system", "daemonset/calico-node",
                "calico-node=docker.io/calico/node:v3.30.0")
            try await cluster.catbird("stop")
            let started = try await cluster.attempt(["start"])
            #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
            #expect(started.text.contains("DNS answers"), "\(started.text)")
            let image = try await cluster.kubectl(
                "get", "-n", "kube-system", "daemonset/calico-node", "-o",
                "jsonpath={.spec.template.spec.containers[0].image}")
            #expect(image == "catbird/node:v1")
        }
    }

    /// What another version of the program shipped is what this one ships after a start; what users set stays.
    @Test func aStartBringsTheAddonsOfAnOlderClusterUpToDate() async throws {
        try await withCluster("older") { cluster in
            try await cluster.catbird("start")
            let older =
                #"[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "catbird/dns:v0"}]"#
            try await cluster.kubectl(
                "patch", "-n", "kube-system", "deployment/coredns", "--type=json", "--field-manager=catbird", "-p",
                older)
            try await cluster.kubectl("scale", "-n", "kube-system", "deployment/coredns", "--replicas=2")
            try await cluster.kubectl("label", "-n", "kube-system", "deployment/coredns", "team=net")
            try await cluster.catbird("stop")
            try await cluster.catbird("start")
            // As of a cluster of somebody else's: through its API alone.
            let elsewhere = try await cluster.type("catbird doctor --kubeconfig $KUBECONFIG")
            #expect(elsewhere.errorText.contains("Left out: processes"), "\(elsewhere.text) \(elsewhere.errorText)")
            #expect(!elsewhere.errorText.contains("cannot be listed"), "\(elsewhere.errorText)")
            try await cluster.kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s")
            let coredns = try await cluster.kubectl(
                "get", "-n", "kube-system", "deployment/coredns", "-o",
                "jsonpath={.spec.template.spec.containers[0].image} {.spec.replicas} {.metadata.labels.team}")
            #expect(coredns == "catbird/dns:v1 2 net")
        }
    }

    /// As Calico's documentation tells people to: everything that calico.yaml has is written over what is there.
    @Test func calicosOwnManifestOverAClusterDoesNotEndIt() async throws {
        try await withCluster("theirs") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            try await cluster.kubectl("create", "deployment", "web", "--image=catbird/lab-frontend", "--replicas=4")
            try await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            try await cluster.apply(CalicoManifest.text)
            try await cluster.kubectl(
                "wait", "-n", "kube-system", "--for=jsonpath={.metadata.annotations.catbird\\.dev/not-taken-over}",
                "daemonset/calico-node", "--timeout=60s")
            try await cluster.kubectl(
                "rollout", "status", "-n", "kube-system", "daemonset/calico-node", "--timeout=60s")
            try await expectTalk(cluster)
            let events = try await cluster.kubectl(
                "get", "events", "-n", "kube-system", "--field-selector=reason=AgentPutBack", "-o",
                "jsonpath={.items[*].message}")
            #expect(events.contains("CALICO_IPV4POOL_IPIP Always") && events.contains("CNI_MTU 1400"), "\(events)")
            let pool = try await cluster.kubectl(
                "get", "ippools.crd.projectcalico.org", "default-ipv4-ippool", "-o",
                "jsonpath={.spec.cidr} {.spec.ipipMode} {.spec.vxlanMode}")
            #expect(pool == "10.244.0.0/16 Always Never")
            let doctor = try await cluster.attempt(["doctor"])
            #expect(doctor.text.contains("FELIX_BPFENABLED"), "\(doctor.text)")
            #expect(doctor.text.contains("192.168.0.0/16"), "\(doctor.text)")
            let explained = try await cluster.attempt([
                "explain",
                "pod/\(try await cluster.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"))",
            ])
            #expect(explained.errorText.contains("FELIX_BPFENABLED"), "\(explained.text) \(explained.errorText)")

            try await cluster.catbird("stop")
            let started = try await cluster.attempt(["start"])
            #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
            #expect(started.text.contains("DNS answers"), "\(started.text)")
            try await cluster.kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s")
            try await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            try await expectTalk(cluster)
            let mtu = try await cluster.kubectl("exec", "deployment/web", "--", "cat", "/sys/class/net/eth0/mtu")
            #expect(mtu.contains("1400"), "\(mtu)")
            let rest = try await cluster.kubectl(
                "get", "pods", "-n", "kube-system", "-l", "k8s-app=calico-kube-controllers", "-o", "name")
            #expect(rest.isEmpty, "\(rest)")
        }
    }

    /// Each pod of the deployment web reaches all others at their addresses, and a name is resolved.
    private func expectTalk(_ cluster: TestCluster) async throws {
        let text = try await cluster.kubectl(
            "get", "pods", "-l", "app=web", "-o",
            "jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}")
        let pods = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }.filter {
            $0.count == 2
        }
        #expect(pods.count == 4, "\(text)")
        let urls = pods.map { "http://\($0[1]):3000/" }
        for pod in pods {
            try await cluster.kubectl(
                "exec", pod[0], "--", "sh", "-c",
                "for u in \(urls.joined(separator: " ")); do wget -q -O /dev/null --timeout=5 $u || exit 1; done; "
                    + "nslookup kubernetes.default.svc.cluster.local >/dev/null")
        }
    }
}

/// In the shape of Calico's calico.yaml, abbreviated.
private enum CalicoManifest {
    static let text = """
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata: {name: calico-kube-controllers, namespace: kube-system, labels: {k8s-app: calico-kube-controllers}}
        spec:
          maxUnavailable: 1
          selector: {matchLabels: {k8s-app: calico-kube-controllers}}
        ---
        apiVersion: v1
        kind: ServiceAccount
        metadata: {name: calico-kube-controllers, namespace: kube-system}
        ---
        apiVersion: v1
        kind: ServiceAccount
        metadata: {name: calico-node, namespace: kube-system}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: calico-config, namespace: kube-system}
        data:
          typha_service_name: none
          calico_backend: bird
          veth_mtu: "1400"
          cni_network_config: |-
            {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
              {"type": "calico", "datastore_type": "kubernetes", "nodename": "__KUBERNETES_NODE_NAME__",
               "mtu": __CNI_MTU__, "ipam": {"type": "calico-ipam"}, "policy": {"type": "k8s"}},
              {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}]}
        ---
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: ippools.crd.projectcalico.org}
        spec:
          group: crd.projectcalico.org
          names: {kind: IPPool, listKind: IPPoolList, plural: ippools, singular: ippool}
          preserveUnknownFields: false
          scope: Cluster
          versions:
            - name: v1
              served: true
              storage: true
              schema:
                openAPIV3Schema:
                  type: object
                  properties:
                    apiVersion: {type: string}
                    kind: {type: string}
                    metadata: {type: object}
                    spec:
                      type: object
                      required: [cidr]
                      properties:
                        allowedUses: {type: array, items: {type: string}}
                        blockSize: {type: integer}
                        cidr: {type: string}
                        disabled: {type: boolean}
                        ipipMode: {type: string}
                        natOutgoing: {type: boolean}
                        nodeSelector: {type: string}
                        vxlanMode: {type: string}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: calico-node}
        rules:
          - apiGroups: [""]
            resources: [pods, nodes, namespaces]
            verbs: [get]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: calico-node}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: calico-node}
        subjects: [{kind: ServiceAccount, name: calico-node, namespace: kube-system}]
        ---
        apiVersion: apps/v1
        kind: DaemonSet
        metadata: {name: calico-node, namespace: kube-system, labels: {k8s-app: calico-node}}
        spec:
          selector: {matchLabels: {k8s-app: calico-node}}
          updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}
          template:
            metadata: {labels: {k8s-app: calico-node}}
            spec:
              nodeSelector: {kubernetes.io/os: linux}
              hostNetwork: true
              tolerations: [{operator: Exists}]
              serviceAccountName: calico-node
              terminationGracePeriodSeconds: 0
              priorityClassName: system-node-critical
              initContainers:
                - name: install-cni
                  image: docker.io/calico/cni:v3.30.0
                  command: [/opt/cni/bin/install]
                  env:
                    - {name: CNI_CONF_NAME, value: 10-calico.conflist}
                    - {name: CNI_NETWORK_CONFIG, valueFrom: {configMapKeyRef: {name: calico-config, key: cni_network_config}}}
                    - {name: CNI_MTU, valueFrom: {configMapKeyRef: {name: calico-config, key: veth_mtu}}}
                    - {name: SLEEP, value: "false"}
                  volumeMounts:
                    - {mountPath: /host/opt/cni/bin, name: cni-bin-dir}
              containers:
                - name: calico-node
                  image: docker.io/calico/node:v3.30.0
                  env:
                    - {name: DATASTORE_TYPE, value: kubernetes}
                    - {name: WAIT_FOR_DATASTORE, value: "true"}
                    - {name: NODENAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
                    - {name: CALICO_NETWORKING_BACKEND, valueFrom: {configMapKeyRef: {name: calico-config, key: calico_backend}}}
                    - {name: CLUSTER_TYPE, value: "k8s,bgp"}
                    - {name: IP, value: autodetect}
                    - {name: CALICO_IPV4POOL_IPIP, value: Always}
                    - {name: CALICO_IPV4POOL_VXLAN, value: Never}
                    - {name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16}
                    - {name: FELIX_IPINIPMTU, valueFrom: {configMapKeyRef: {name: calico-config, key: veth_mtu}}}
                    - {name: FELIX_BPFENABLED, value: "true"}
                  securityContext: {privileged: true}
                  livenessProbe: {exec: {command: [/bin/calico-node, -felix-live, -bird-live]}, periodSeconds: 10}
                  readinessProbe: {exec: {command: [/bin/calico-node, -felix-ready, -bird-ready]}, periodSeconds: 10}
              volumes:
                - {name: cni-bin-dir, hostPath: {path: /opt/cni/bin, type: DirectoryOrCreate}}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: calico-kube-controllers, namespace: kube-system, labels: {k8s-app: calico-kube-controllers}}
        spec:
          replicas: 1
          selector: {matchLabels: {k8s-app: calico-kube-controllers}}
          strategy: {type: Recreate}
          template:
            metadata: {labels: {k8s-app: calico-kube-controllers}}
            spec:
              serviceAccountName: calico-kube-controllers
              containers:
                - name: calico-kube-controllers
                  image: docker.io/calico/kube-controllers:v3.30.0
                  env: [{name: ENABLED_CONTROLLERS, value: node}, {name: DATASTORE_TYPE, value: kubernetes}]
                  readinessProbe: {exec: {command: [/usr/bin/check-status, -r]}, periodSeconds: 10}

        """
}
