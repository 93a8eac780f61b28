// SPDX-License-Identifier: Apache-2.0

extension Addons {
    /// The cluster's names.
    var coreDNS: String {
        """
        ---
        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: coredns
          namespace: kube-system
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: system:coredns
        rules:
          - apiGroups: [""]
            resources: [endpoints, services, pods, namespaces]
            verbs: [get, list, watch]
          - apiGroups: [discovery.k8s.io]
            resources: [endpointslices]
            verbs: [get, list, watch]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: system:coredns
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: system:coredns
        subjects:
          - kind: ServiceAccount
            name: coredns
            namespace: kube-system
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: coredns
          namespace: kube-system
        data:
          Corefile: |
            .:53 {
                errors
                health {
                   lameduck 5s
                }
                ready
                kubernetes cluster.local in-addr.arpa ip6.arpa {
                   pods insecure
                   fallthrough in-addr.arpa ip6.arpa
                   ttl 30
                }
                prometheus :9153
                forward . /etc/resolv.conf {
                   max_concurrent 1000
                }
                cache 30
                loop
                reload
                loadbalance
            }
        ---
        apiVersion: v1
        kind: Service
        metadata:
          name: kube-dns
          namespace: kube-system
          labels:
            k8s-app: kube-dns
            kubernetes.io/cluster-service: "true"
            kubernetes.io/name: CoreDNS
          annotations:
            prometheus.io/port: "9153"
            prometheus.io/scrape: "true"
        spec:
          clusterIP: \(clusterDNS)
          selector:
            k8s-app: kube-dns
          ports:
            - name: dns
              port: 53
              protocol: UDP
              targetPort: 53
            - name: dns-tcp
              port: 53
              protocol: TCP
              targetPort: 53
            - name: metrics
              port: 9153
              protocol: TCP
              targetPort: 9153
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: coredns
          namespace: kube-system
          labels:
            k8s-app: kube-dns
            kubernetes.io/name: CoreDNS
        spec:
          replicas: 1
          strategy:
            type: RollingUpdate
            rollingUpdate:
              maxUnavailable: 1
          selector:
            matchLabels:
              k8s-app: kube-dns
          template:
            metadata:
              labels:
                k8s-app: kube-dns
            spec:
              priorityClassName: system-cluster-critical
              serviceAccountName: coredns
              dnsPolicy: Default
              terminationGracePeriodSeconds: 5
              nodeSelector:
                kubernetes.io/os: linux
              tolerations:
                - key: CriticalAddonsOnly
                  operator: Exists
                - key: node-role.kubernetes.io/control-plane
                  effect: NoSchedule
              containers:
                - name: coredns
                  image: catbird/dns:v1
                  imagePullPolicy: IfNotPresent
                  args: ["-conf", "/etc/coredns/Corefile"]
                  env:
                    - name: KUBERNETES_SERVICE_HOST
                      value: "\(apiHost)"
                    - name: KUBERNETES_SERVICE_PORT
                      value: "\(apiPort)"
                  ports:
                    - name: dns
                      containerPort: 53
                      protocol: UDP
                    - name: dns-tcp
                      containerPort: 53
                      protocol: TCP
                    - name: metrics
                      containerPort: 9153
                      protocol: TCP
                  securityContext:
                    allowPrivilegeEscalation: false
                    readOnlyRootFilesystem: true
                    capabilities:
                      add: [NET_BIND_SERVICE]
                      drop: [ALL]
                  readinessProbe:
                    httpGet:
                      path: /ready
                      port: 8181
                      scheme: HTTP
                    periodSeconds: 1
                  volumeMounts:
                    - name: config-volume
                      mountPath: /etc/coredns
                      readOnly: true
              volumes:
                - name: config-volume
                  configMap:
                    name: coredns
                    items:
                      - key: Corefile
                        path: Corefile

        """
    }
}
