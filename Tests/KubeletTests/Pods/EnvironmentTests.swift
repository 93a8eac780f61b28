// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Kubelet
import Testing
import Values

/// A pod made from JSON text.
func pod(_ text: String) throws -> PodView { PodView(KubeObject(try JSON(parsing: text))) }

@Suite("Environment") struct EnvironmentTests {
    @Test(
        "references",
        arguments: [
            ("$(A)", "1"), ("$(A)$(B)", "1two"), ("$$(A)", "$(A)"), ("$(UNKNOWN)", "$(UNKNOWN)"), ("$A", "$A"),
            ("$(A", "$(A"), ("$$$(A)", "$1"), ("a$", "a$"), ("", ""), ("$()", "$()"),
        ])
    func expansion(text: String, expected: String) {
        let values = ["A": "1", "B": "two"]
        #expect(VariableExpansion.expand(text) { values[$0] } == expected)
    }

    static let example = """
        {"metadata":{"name":"web","namespace":"shop","uid":"u1","labels":{"app":"web"},"annotations":{"n":"1"}},
         "spec":{"nodeName":"lab","serviceAccountName":"robot","containers":[{"name":"c","image":"i",
          "resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"250m"}},
          "envFrom":[{"prefix":"P_","configMapRef":{"name":"settings"}},{"secretRef":{"name":"gone","optional":true}}],
          "env":[{"name":"A","value":"x"},{"name":"B","value":"$(A)-$(P_color)-$(C)"},
           {"name":"C","valueFrom":{"secretKeyRef":{"name":"key","key":"token"}}},
           {"name":"D","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
           {"name":"E","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
           {"name":"F","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m"}}},
           {"name":"G","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
           {"name":"H","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
           {"name":"I","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
           {"name":"J","valueFrom":{"configMapKeyRef":{"name":"settings","key":"nope","optional":true}}},
           {"name":"A","value":"y"}]}]}}
        """

    static func sources() -> EnvironmentSources {
        var sources = EnvironmentSources()
        var settings = KubeObject(.configMaps, kind: "ConfigMap", name: "settings", namespace: "shop")
        settings["data"] = ["color": "blue"]
        sources.configMaps["settings"] = settings
        var key = KubeObject(.secrets, kind: "Secret", name: "key", namespace: "shop")
        key["data"] = ["token": "c2VjcmV0"]
        sources.secrets["key"] = key
        sources.podIPs = ["10.244.0.7"]
        sources.allocatable = ["cpu": "2"]
        return sources
    }

    @Test("all kinds of variables, in order")
    func all() throws {
        let pod = try pod(Self.example)
        let variables = try ContainerEnvironment.compute(pod.containers[0], of: pod, sources: Self.sources())
        #expect(
            variables.map { "\($0.0)=\($0.1)" } == [
                "P_color=blue", "A=y", "B=x-blue-$(C)", "C=secret", "D=web", "E=10.244.0.7", "F=250", "G=64", "H=2",
                "I=lab",
            ])
    }

    @Test("what is missing is named")
    func missing() throws {
        let pod = try pod(Self.example)
        var sources = Self.sources()
        sources.secrets = [:]
        let error = #expect(throws: ContainerConfigError.self) {
            try ContainerEnvironment.compute(pod.containers[0], of: pod, sources: sources)
        }
        #expect(error?.message == "secret \"key\" not found")
        sources = Self.sources()
        sources.secrets["key"]?["data"] = [:]
        let noKey = #expect(throws: ContainerConfigError.self) {
            try ContainerEnvironment.compute(pod.containers[0], of: pod, sources: sources)
        }
        #expect(noKey?.message == "couldn't find key token in Secret shop/key")
    }

    @Test("service links: own namespace and kubernetes, never headless ones")
    func links() {
        func service(_ name: String, _ namespace: String, _ address: String, _ ports: JSON) -> KubeObject {
            var service = KubeObject(.services, kind: "Service", name: name, namespace: namespace)
            service["spec"] = ["clusterIP": JSON(address), "ports": ports]
            return service
        }
        let services = [
            service("kubernetes", "default", "10.96.0.1", [["name": "https", "port": 443, "protocol": "TCP"]]),
            service(
                "my-db", "shop", "10.96.1.2", [["port": 5432], ["name": "http-x", "port": 80, "protocol": "UDP"]]),
            service("headless", "shop", "None", [["port": 1]]), service("other", "else", "10.96.1.3", [["port": 1]]),
        ]
        let all = ServiceLinks.variables(namespace: "shop", services: services, includingOwnNamespace: true)
        let values = Dictionary(all) { $1 }
        #expect(values["KUBERNETES_SERVICE_HOST"] == "10.96.0.1")
        #expect(values["KUBERNETES_SERVICE_PORT_HTTPS"] == "443")
        #expect(values["KUBERNETES_PORT"] == "tcp://10.96.0.1:443")
        #expect(values["KUBERNETES_PORT_443_TCP_ADDR"] == "10.96.0.1")
        #expect(values["MY_DB_SERVICE_PORT"] == "5432")
        #expect(values["MY_DB_SERVICE_PORT_HTTP_X"] == "80")
        #expect(values["MY_DB_PORT_80_UDP"] == "udp://10.96.1.2:80")
        #expect(values["HEADLESS_SERVICE_HOST"] == nil)
        #expect(values["OTHER_SERVICE_HOST"] == nil)
        let only = ServiceLinks.variables(namespace: "shop", services: services, includingOwnNamespace: false)
        #expect(only.allSatisfy { $0.0.hasPrefix("KUBERNETES_") })
    }
}

@Suite("Pods") struct PodLogicTests {
    @Test(
        "image pull policies",
        arguments: [
            ("busybox", "Always"), ("busybox:latest", "Always"), ("busybox:1.36", "IfNotPresent"),
            ("localhost:5000/app", "Always"), ("localhost:5000/app:v1", "IfNotPresent"),
            ("busybox@sha256:abc", "IfNotPresent"),
        ])
    func pullPolicy(image: String, policy: String) {
        #expect(ContainerView(json: ["name": "c", "image": JSON(image)], role: .regular).imagePullPolicy == policy)
    }

    @Test(
        "quality of service",
        arguments: [
            (#"{"limits":{"cpu":"1","memory":"1Gi"}}"#, QoSClass.guaranteed, "kubepods/podu"),
            (
                #"{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}"#, .burstable,
                "kubepods/burstable/podu"
            ),
            (#"{"requests":{"memory":"1Gi"}}"#, .burstable, "kubepods/burstable/podu"),
            ("{}", .bestEffort, "kubepods/besteffort/podu"),
        ])
    func qos(resources: String, expected: QoSClass, cgroup: String) throws {
        let pod = try pod(#"{"spec":{"containers":[{"name":"c","resources":\#(resources)}]}}"#)
        #expect(QoSClass(of: pod) == expected)
        #expect(expected.cgroup(uid: "u") == cgroup)
    }

    @Test("out-of-memory scores")
    func oom() throws {
        let pod = try pod(#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"memory":"1Gi"}}}]}}"#)
        #expect(OOMScore.adjustment(of: pod.containers[0], qos: .burstable, nodeMemory: 4 << 30) == 750)
        #expect(OOMScore.adjustment(of: pod.containers[0], qos: .guaranteed, nodeMemory: 4 << 30) == -997)
    }

    @Test("restarts: at once, then 10 s doubled to 5 min, anew after ten minutes")
    func backoff() {
        var backoff = RestartBackoff()
        var now = Timestamp(seconds: 1_000_000)
        #expect(backoff.due(after: now) == nil)
        backoff.willTry(at: now, after: now)
        var waits: [Int] = []
        for _ in 0..<7 {
            let due = backoff.due(after: now)
            waits.append(Int(due?.seconds(since: now) ?? 0))
            now = due ?? now
            backoff.willTry(at: now, after: now)
        }
        #expect(waits == [10, 20, 40, 80, 160, 300, 300])
        now = now.adding(seconds: 601)
        #expect(backoff.due(after: now) == nil)
        backoff.willTry(at: now, after: now)
        #expect(backoff.seconds == 10)
        #expect(RestartBackoff.text(10) == "10s")
        #expect(RestartBackoff.text(80) == "1m20s")
        #expect(RestartBackoff.text(300) == "5m0s")
    }

    @Test(
        "what is not supported is said by name",
        arguments: [
            (#"{"initContainers":[{"name":"s","restartPolicy":"Always"}]}"#, "sidecar"),
            (#"{"hostUsers":false}"#, "user namespace"),
            (#"{"containers":[{"name":"c","livenessProbe":{"grpc":{"port":1}}}]}"#, "grpc"),
            (#"{"containers":[{"name":"c","volumeDevices":[{"name":"d"}]}]}"#, "block device d"),
            (#"{"containers":[{"name":"c","restartPolicy":"Never"}]}"#, "restartPolicy Never"),
            (#"{"containers":[{"name":"c","resources":{"claims":[{"name":"d"}]}}]}"#, "resources.claims"),
            (#"{"containers":[{"name":"c","lifecycle":{"stopSignal":"SIGUSR1"}}]}"#, "stopSignal SIGUSR1"),
            (#"{"containers":[{"name":"c","volumeMounts":[{"name":"v","recursiveReadOnly":"Enabled"}]}]}"#, "mount v"),
            (#"{"resourceClaims":[{"name":"d"}]}"#, "resourceClaims"), (#"{"hostnameOverride":"h"}"#, "hostname"),
            (#"{"securityContext":{"supplementalGroupsPolicy":"Strict"}}"#, "Strict"),
            (#"{"volumes":[{"name":"v","emptyDir":{"medium":"HugePages-2Mi"}}]}"#, "HugePages-2Mi"),
        ])
    func unsupported(spec: String, word: String) throws {
        let pod = try pod(#"{"spec":\#(spec)}"#)
        #expect(pod.unsupported?.contains(word) == true)
    }

    @Test(
        "what has no effect is warned about",
        arguments: [
            (#"{"runtimeClassName":"gvisor"}"#, ["spec.runtimeClassName has no effect: crun"]),
            (
                #"{"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"c","securityContext":{"appArmorProfile":{"type":"Localhost"}}}]}"#,
                ["spec.securityContext.appArmorProfile", "spec.containers[0].securityContext.appArmorProfile"]
            ), (#"{"resources":{"limits":{"cpu":"1"}}}"#, ["spec.resources"]),
            (#"{"securityContext":{"appArmorProfile":{"type":"Unconfined"}},"containers":[{"name":"c"}]}"#, []),
        ])
    func notActedUpon(spec: String, beginnings: [String]) throws {
        let warnings = try pod(#"{"apiVersion":"v1","kind":"Pod","spec":\#(spec)}"#).notActedUpon
        #expect(warnings.count == beginnings.count)
        for (warning, beginning) in zip(warnings, beginnings) { #expect(warning.hasPrefix(beginning)) }
    }

    static let host = ResolverConfiguration(
        parsing: "# x\nnameserver 192.0.2.1\nsearch corp.example\noptions timeout:1\n")

    @Test(
        "resolv.conf by dnsPolicy",
        arguments: [
            (
                "{}",
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
            ),
            (#"{"dnsPolicy":"Default"}"#, "search corp.example\nnameserver 192.0.2.1\noptions timeout:1\n"),
            (#"{"hostNetwork":true}"#, "search corp.example\nnameserver 192.0.2.1\noptions timeout:1\n"),
            (
                #"{"hostNetwork":true,"dnsPolicy":"ClusterFirstWithHostNet"}"#,
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
            ),
            (
                #"{"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"searches":["a"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}}"#,
                "search a\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
            ),
            (
                #"{"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}}"#,
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:1\n"
            ),
        ])
    func resolver(spec: String, expected: String) throws {
        let pod = try pod(#"{"metadata":{"namespace":"shop"},"spec":\#(spec)}"#)
        let result = ResolverConfiguration.forPod(
            pod, clusterDNS: ["10.96.0.10"], clusterDomain: "cluster.local", host: Self.host)
        #expect(result.text == expected)
    }

    @Test("/etc/hosts")
    func hosts() throws {
        let own = try pod(
            #"{"metadata":{"name":"a","namespace":"n"},"spec":{"subdomain":"s","hostAliases":[{"ip":"1.2.3.4","hostnames":["x","y"]}]}}"#
        )
        let text = HostsFile.text(
            of: own, podIPs: ["10.244.0.9"], hostname: "a",
            domain: HostsFile.domain(of: own, clusterDomain: "cluster.local"), nodeHosts: "")
        #expect(text.hasPrefix("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"))
        #expect(text.contains("10.244.0.9\ta.s.n.svc.cluster.local\ta\n"))
        #expect(text.hasSuffix("\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n"))
        let onHost = try pod(#"{"spec":{"hostNetwork":true}}"#)
        let shared = HostsFile.text(
            of: onHost, podIPs: [], hostname: "n", domain: nil, nodeHosts: "127.0.0.1 localhost")
        #expect(shared == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n")
    }

    @Test("probe settings and verdicts")
    func probes() throws {
        let pod = try pod(
            #"{"spec":{"containers":[{"name":"c","ports":[{"name":"web","containerPort":8080}],"livenessProbe":{"httpGet":{"port":"web","path":"healthz"},"failureThreshold":2,"timeoutSeconds":0}}]}}"#
        )
        let probe = try #require(ProbeSettings(.liveness, of: pod.containers[0]))
        #expect(probe.action == .http(scheme: "http", host: nil, port: 8080, path: "/healthz", headers: []))
        #expect(probe.timeout == 1)
        #expect(ProbeSettings(.readiness, of: pod.containers[0]) == nil)
        var counter = ProbeCounter(probe)
        #expect(
            [false, false, true, false, true, true].map { counter.count($0) } == [nil, false, true, nil, true, true])
    }
}
