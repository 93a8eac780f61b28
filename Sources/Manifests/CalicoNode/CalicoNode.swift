// SPDX-License-Identifier: Apache-2.0

extension Addons {
    /// The agent of each node. Its rights have names of their own: Calico's calico.yaml, which people apply over this,
    /// writes a ClusterRole `calico-node` that has others.
    var calicoNode: String {
        """
        ---
        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: calico-node
          namespace: kube-system
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: catbird-agent
        rules:
          - apiGroups: [""]
            resources: [pods, nodes, namespaces, services, endpoints, serviceaccounts]
            verbs: [get, list, watch]
          - apiGroups: [""]
            resources: [pods, pods/status, nodes, nodes/status]
            verbs: [patch, update]
          - apiGroups: [""]
            resources: [events]
            verbs: [create, patch, update]
          - apiGroups: [discovery.k8s.io]
            resources: [endpointslices]
            verbs: [get, list, watch]
          - apiGroups: [networking.k8s.io]
            resources: [networkpolicies]
            verbs: [get, list, watch]
          - apiGroups: [crd.projectcalico.org, projectcalico.org]
            resources: ["*"]
            verbs: [get, list, watch, create, update, patch, delete]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: catbird-agent
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: catbird-agent
        subjects:
          - kind: ServiceAccount
            name: calico-node
            namespace: kube-system
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: catbird-agent
          namespace: kube-system
        rules:
          # Passwords of BGP sessions.
          - apiGroups: [""]
            resources: [secrets]
            verbs: [get]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: catbird-agent
          namespace: kube-system
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: catbird-agent
        subjects:
          - kind: ServiceAccount
            name: calico-node
            namespace: kube-system
        ---
        apiVersion: apps/v1
        kind: DaemonSet
        metadata:
          name: calico-node
          namespace: kube-system
          labels:
            k8s-app: calico-node
        spec:
          selector:
            matchLabels:
              k8s-app: calico-node
          updateStrategy:
            type: RollingUpdate
          template:
            metadata:
              labels:
                k8s-app: calico-node
            spec:
              hostNetwork: true
              priorityClassName: system-node-critical
              serviceAccountName: calico-node
              terminationGracePeriodSeconds: 0
              nodeSelector:
                kubernetes.io/os: linux
              tolerations:
                - operator: Exists
              containers:
                - name: calico-node
                  image: catbird/node:v1
                  imagePullPolicy: IfNotPresent
                  securityContext:
                    privileged: true
                  env:
                    - name: NODENAME
                      valueFrom:
                        fieldRef:
                          fieldPath: spec.nodeName
                    - name: KUBERNETES_SERVICE_HOST
                      value: "\(apiHost)"
                    - name: KUBERNETES_SERVICE_PORT
                      value: "\(apiPort)"
                    - name: CNI_BIN_DIR
                      value: /host/opt/cni/bin
                    - name: CNI_NET_DIR
                      value: /host/etc/cni/net.d
                  volumeMounts:
                    - name: cni-bin-dir
                      mountPath: /host/opt/cni/bin
                    - name: cni-net-dir
                      mountPath: /host/etc/cni/net.d
                    - name: agent-socket
                      mountPath: /var/run/catbird
                    - name: var-lib-calico
                      mountPath: /var/lib/calico
              volumes:
                - name: cni-bin-dir
                  hostPath:
                    path: /opt/cni/bin
                    type: DirectoryOrCreate
                - name: cni-net-dir
                  hostPath:
                    path: /etc/cni/net.d
                    type: DirectoryOrCreate
                - name: agent-socket
                  hostPath:
                    path: /var/run/catbird
                    type: DirectoryOrCreate
                - name: var-lib-calico
                  hostPath:
                    path: /var/lib/calico
                    type: DirectoryOrCreate

        """
    }
}
