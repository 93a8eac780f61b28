// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite struct PodRuleTests {
    /// A change of the good pod, and what is wrong with it then.
    typealias Row = (patch: String, problems: [String])

    /// A row about the one container of the pod.
    private static func container(_ fields: String, _ problems: String...) -> Row {
        (
            #"{"spec":{"containers":[{"name":"c","image":"i",\#(fields)}]}}"#,
            problems.map { "spec.containers[0].\($0)" }
        )
    }

    private static func spec(_ fields: String, _ problems: String...) -> Row {
        (#"{"spec":{\#(fields)}}"#, problems.map { "spec.\($0)" })
    }

    private static let label =
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"

    private static let subdomain =
        #"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#

    static let containers: [Row] = [
        container(#""name":"C""#, #"name: Invalid value: "C": \#(label)"#),
        container(#""image":" i""#, #"image: Invalid value: " i": must not have leading or trailing whitespace"#),
        container(
            #""imagePullPolicy":"Sometimes""#,
            #"imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never""#),
        container(
            #""terminationMessagePolicy":"x""#,
            #"terminationMessagePolicy: Unsupported value: "x": supported values: "File", "FallbackToLogsOnError""#),
        container(#""ports":[{}]"#, "ports[0].containerPort: Required value"),
        container(
            #""ports":[{"containerPort":70000}]"#,
            "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        container(
            #""ports":[{"containerPort":1,"protocol":"ICMP"}]"#,
            #"ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#),
        container(
            #""ports":[{"name":"a","containerPort":1},{"name":"a","containerPort":2}]"#,
            #"ports[1].name: Duplicate value: "a""#),
        container(
            #""ports":[{"containerPort":1,"hostPort":5},{"containerPort":2,"hostPort":5}]"#,
            #"ports[1].hostPort: Duplicate value: "TCP//5""#),
        container(
            #""env":[{"name":"a=b"}]"#,
            #"env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='"#
        ),
        container(
            #""env":[{"name":"a","valueFrom":{}}]"#,
            #"env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"#
        ),
        container(
            #""env":[{"name":"a","value":"x","valueFrom":{"configMapKeyRef":{"name":"m","key":"k"}}}]"#,
            #"env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#),
        container(
            #""env":[{"name":"a","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels"}}}]"#,
            #"env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs""#
        ),
        container(
            #""env":[{"name":"a","valueFrom":{"fieldRef":{"fieldPath":"spec.nope"}}}]"#,
            #"env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nope": error converting fieldPath: field label not supported: spec.nope"#
        ),
        container(#""env":[{"name":"a","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['x']"}}}]"#),
        container(
            #""env":[{"name":"a","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"2"}}}]"#,
            #"env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource"#
        ),
        container(
            #""env":[{"name":"a","valueFrom":{"secretKeyRef":{"name":"m"}}}]"#,
            "env[0].valueFrom.secretKeyRef.key: Required value"),
        container(
            #""envFrom":[{}]"#,
            #"envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`"#),
        container(
            #""volumeMounts":[{"name":"v","mountPath":""}]"#, #"volumeMounts[0].name: Not found: "v""#,
            "volumeMounts[0].mountPath: Required value"),
        container(
            #""volumeDevices":[{"name":"v","devicePath":"/d"}]"#, #"volumeDevices[0].name: Not found: "v""#),
        container(#""livenessProbe":{}"#, "livenessProbe: Required value: must specify a handler type"),
        container(
            #""livenessProbe":{"exec":{"command":["a"]},"tcpSocket":{"port":1}}"#,
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        container(
            #""livenessProbe":{"exec":{"command":["a"]},"successThreshold":2}"#,
            "livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        container(
            #""readinessProbe":{"exec":{"command":["a"]},"successThreshold":2}"#),
        container(
            #""readinessProbe":{"exec":{"command":["a"]},"terminationGracePeriodSeconds":3}"#,
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes"),
        container(
            #""startupProbe":{"httpGet":{"port":"Bad_Port"}}"#,
            #"startupProbe.httpGet.port: Invalid value: "Bad_Port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"#
        ),
        container(
            #""lifecycle":{"preStop":{"sleep":{"seconds":60}}}"#,
            "lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)"
        ),
        container(#""lifecycle":{"postStart":{"exec":{}}}"#, "lifecycle.postStart.exec.command: Required value"),
        container(
            #""resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}"#,
            #"resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#),
        container(
            #""resources":{"requests":{"cpu":"-1"}}"#,
            #"resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0"#),
        container(
            #""resources":{"limits":{"storage":"1"}}"#,
            #"resources.limits[storage]: Invalid value: "storage": must be a standard resource for containers"#,
            #"resources.requests[storage]: Invalid value: "storage": must be a standard resource for containers"#),
        container(
            #""resources":{"requests":{"example.com/gpu":"1"}}"#,
            "resources.limits: Required value: Limit must be set for non overcommitable resources"),
        container(
            #""resources":{"limits":{"hugepages-2Mi":"2Mi"}}"#,
            "resources: Forbidden: HugePages require cpu or memory"),
        container(
            #""resources":{"limits":{"cpu":"1","hugepages-2Mi":"3Mi"}}"#,
            #"resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi"#,
            #"resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi"#
        ),
        container(
            #""resources":{"claims":[{"name":"g"}]}"#,
            #"resources.claims[0]: Not found: "g": must be one of the names in pod.spec.resourceClaims which is empty"#),
        container(
            #""resizePolicy":[{"resourceName":"disk","restartPolicy":"NotRequired"}]"#,
            #"resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory""#),
        container(
            #""securityContext":{"runAsUser":-1}"#,
            "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        container(
            #""securityContext":{"allowPrivilegeEscalation":false,"privileged":true}"#,
            #"securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"#
        ),
        container(
            #""securityContext":{"procMount":"Unmasked"}"#,
            #"securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`"#),
        container(
            #""securityContext":{"seccompProfile":{"type":"Localhost"}}"#,
            "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"
        ),
        container(
            #""securityContext":{"appArmorProfile":{"type":"Odd"}}"#,
            #"securityContext.appArmorProfile.type: Unsupported value: "Odd": supported values: "Localhost", "RuntimeDefault", "Unconfined""#
        ),
    ]

    static let volumes: [Row] = [
        spec(#""volumes":[{"name":"v","secret":{}}]"#, "volumes[0].secret.secretName: Required value"),
        spec(#""volumes":[{"name":"v","configMap":{}}]"#, "volumes[0].configMap.name: Required value"),
        spec(
            #""volumes":[{"name":"v","emptyDir":{},"hostPath":{"path":"/a"}}]"#,
            "volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
        spec(
            #""volumes":[{"name":"v"},{"name":"v"}]"#, #"volumes[1].name: Duplicate value: "v""#),
        spec(
            #""volumes":[{"name":"v","hostPath":{"path":"/a/../b"}}]"#,
            #"volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'"#),
        spec(
            #""volumes":[{"name":"v","hostPath":{"path":"/a","type":"Odd"}}]"#,
            #"volumes[0].hostPath.type: Unsupported value: "Odd": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket""#
        ),
        spec(
            #""volumes":[{"name":"v","configMap":{"name":"m","defaultMode":512}}]"#,
            "volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"
        ),
        spec(
            #""volumes":[{"name":"v","configMap":{"name":"m","items":[{"key":"k","path":"/abs"}]}}]"#,
            #"volumes[0].configMap.items[0].path: Invalid value: "/abs": must be a relative path"#),
        spec(
            #""volumes":[{"name":"v","nfs":{"server":"s","path":"rel"}}]"#,
            #"volumes[0].nfs.path: Invalid value: "rel": must be an absolute path"#),
        spec(
            #""volumes":[{"name":"v","downwardAPI":{"items":[{"path":"p"}]}}]"#,
            "volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"),
        spec(
            #""volumes":[{"name":"v","downwardAPI":{"items":[{"path":"p","resourceFieldRef":{"resource":"limits.cpu"}}]}}]"#,
            "volumes[0].downwardAPI.resourceFieldRef.containerName: Required value"),
        spec(
            #""serviceAccountName":"s","volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":60}}]}}]"#,
            "volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"
        ),
        spec(
            #""volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}]"#,
            "volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"
        ),
        spec(
            #""volumes":[{"name":"v","projected":{"sources":[{"secret":{"name":"s","items":[{"key":"k","path":"p"}]}},{"configMap":{"name":"m","items":[{"key":"k","path":"p"}]}}]}}]"#,
            #"volumes[0].projected: Invalid value: "m": conflicting duplicate paths"#),
        spec(
            #""volumes":[{"name":"v","projected":{"sources":[{"secret":{"name":"s"},"configMap":{"name":"m"}}]}}]"#,
            "volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"),
        spec(
            #""volumes":[{"name":"v","ephemeral":{}}]"#, "volumes[0].ephemeral.volumeClaimTemplate: Required value"),
        spec(
            #""volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{}}}}]"#,
            "volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
            "volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"),
        spec(
            #""volumes":[{"name":"v","csi":{}}]"#, "volumes[0].csi.driver: Required value",
            #"volumes[0].csi.driver: Invalid value: "": \#(subdomain)"#),
        spec(#""volumes":[{"name":"v","image":{}}]"#, "volumes[0].image.reference: Required value"),
        spec(
            #""volumes":[{"name":"v","iscsi":{"targetPortal":"t","iqn":"odd","lun":0}}]"#,
            #"volumes[0].iscsi.iqn: Invalid value: "odd": must be valid format starting with iqn, eui, or naa"#),
        spec(
            #""volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/a","mountPropagation":"Bidirectional"}]}]"#,
            "containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
        ),
        spec(
            #""volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/a"},{"name":"v","mountPath":"/a"}]}]"#,
            #"containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#),
    ]

    static let specs: [Row] = [
        spec(
            #""restartPolicy":"Maybe""#,
            #"restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never""#),
        spec(
            #""dnsPolicy":"None""#,
            "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        spec(
            #""dnsConfig":{"nameservers":["x"]}"#,
            #"dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ),
        spec(
            #""dnsConfig":{"nameservers":["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]}"#,
            #"dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]: must not have more than 3 nameservers"#
        ),
        spec(#""dnsConfig":{"options":[{"value":"x"}]}"#, "dnsConfig.options[0]: Required value: must not be empty"),
        spec(#""dnsConfig":{"searches":["_tcp.x.",".", "a.b"]}"#),
        spec(
            #""activeDeadlineSeconds":0"#,
            "activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        spec(#""hostname":"A""#, #"hostname: Invalid value: "A": \#(label)"#),
        spec(
            #""hostAliases":[{"ip":"x"}]"#,
            #"hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#),
        spec(
            #""tolerations":[{"operator":"Equal"}]"#,
            #"tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#
        ),
        spec(
            #""tolerations":[{"key":"a","operator":"Exists","value":"x"}]"#,
            #"tolerations[0].operator: Invalid value: "x": value must be empty when `operator` is 'Exists'"#),
        spec(
            #""tolerations":[{"key":"a","operator":"Exists","tolerationSeconds":3}]"#,
            #"tolerations[0].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set"#),
        spec(
            #""tolerations":[{"key":"a","effect":"Odd"}]"#,
            #"tolerations[0].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#
        ),
        spec(
            #""topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"","whenUnsatisfiable":"x"}]"#,
            "topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            #"topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: "DoNotSchedule", "ScheduleAnyway""#
        ),
        spec(
            #""topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway","minDomains":2},{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway"}]"#,
            #"topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, ScheduleAnyway}""#,
            "topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
        ),
        spec(
            #""affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]}}}"#,
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"
        ),
        spec(
            #""affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":0,"preference":{"matchExpressions":[{"key":"a","operator":"In"}]}}]}}"#,
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        ),
        spec(
            #""affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":200,"podAffinityTerm":{"topologyKey":"z"}}]}}"#,
            "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 200: must be in the range 1-100"
        ),
        spec(
            #""securityContext":{"sysctls":[{"name":"a","value":"1"},{"name":"a","value":"1"}]}"#,
            #"securityContext.sysctls[1].name: Duplicate value: "a""#),
        spec(
            #""hostNetwork":true,"securityContext":{"sysctls":[{"name":"net.core.somaxconn","value":"1"}]}"#,
            #"securityContext.sysctls[0].name: Invalid value: "net.core.somaxconn": may not be specified when 'hostNetwork' is true"#
        ),
        spec(
            #""hostUsers":false,"hostNetwork":true"#, "hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false"),
        spec(
            #""hostNetwork":true,"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"hostPort":81}]}]"#,
            "containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"),
        spec(
            #""shareProcessNamespace":true,"hostPID":true"#,
            "securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
        ),
        spec(#""schedulingGates":[{"name":"a"},{"name":"a"}]"#, #"schedulingGates[1]: Duplicate value: "a""#),
        spec(
            #""nodeName":"n","schedulingGates":[{"name":"a"}]"#,
            "nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"),
        spec(
            #""resourceClaims":[{"name":"g"}]"#,
            #"resourceClaims[0]: Invalid value: {"name":"g"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#
        ),
        spec(
            #""ephemeralContainers":[{"name":"e","image":"i"}]"#,
            "ephemeralContainers: Forbidden: cannot be set on create"),
        spec(
            #""initContainers":[{"name":"c","image":"i"}]"#, #"initContainers[0].name: Duplicate value: "c""#),
        spec(
            #""initContainers":[{"name":"i","image":"i","lifecycle":{"preStop":{"exec":{"command":["x"]}}}}]"#,
            "initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"),
        spec(
            #""initContainers":[{"name":"i","image":"i","restartPolicy":"Always","lifecycle":{"preStop":{"exec":{"command":["x"]}}}}]"#
        ),
        spec(
            #""os":{"name":"windows"},"hostPID":true"#, "hostPID: Forbidden: cannot be set for a windows pod"),
        spec(#""os":{"name":"plan9"}"#, #"os: Unsupported value: "plan9": supported values: "linux", "windows""#),
        spec(
            #""resources":{"requests":{"cpu":"1"}},"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"2"}}}]"#,
            #"resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2"#
        ),
    ]

    @Test(arguments: containers) func rowsOfContainers(_ row: Row) throws {
        #expect(try KindFixtures.problems("Pod", row.patch) == row.problems)
    }

    @Test(arguments: volumes) func rowsOfVolumes(_ row: Row) throws {
        #expect(try KindFixtures.problems("Pod", row.patch) == row.problems)
    }

    @Test(arguments: specs) func rowsOfSpecs(_ row: Row) throws {
        #expect(try KindFixtures.problems("Pod", row.patch) == row.problems)
    }
}
