// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct KindTests {
    let registry = ResourceRegistry.shared

    func type(_ resource: GroupVersionResource) throws -> ResourceType { try #require(registry.resource(resource)) }

    func object(_ text: String) throws -> KubeObject { KubeObject(try JSON(parsing: text)) }

    /// What the API answers to a create: the first errors' texts.
    func problems(_ resource: GroupVersionResource, _ text: String, old: String? = nil) throws -> [String] {
        let type = try type(resource)
        func ready(_ text: String) throws -> KubeObject {
            type.defaulted(registry.decode(try object(text), as: type).object)
        }
        return type.validate(try ready(text), old: try old.map(ready)).map(\.description)
    }

    @Test func podsGetTheirDefaults() throws {
        let pods = try type(.pods)
        let pod = pods.defaulted(
            try object(
                #"""
                {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{
                "containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":80}},
                "resources":{"limits":{"cpu":"1"}}},{"name":"d","image":"reg:5000/x:v1"}],
                "volumes":[{"name":"v"},{"name":"w","configMap":{"name":"m"}},{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"x"}}]}}]}}
                """#))
        let spec = pod["spec"]
        #expect(spec["restartPolicy"] == "Always" && spec["dnsPolicy"] == "ClusterFirst")
        #expect(spec["terminationGracePeriodSeconds"] == 30 && spec["securityContext"] == [:])
        #expect(spec["schedulerName"] == "default-scheduler" && spec["enableServiceLinks"] == true)
        let container = spec["containers"][0]
        #expect(container["imagePullPolicy"] == "Always" && spec["containers"][1]["imagePullPolicy"] == "IfNotPresent")
        #expect(container["terminationMessagePath"] == "/dev/termination-log")
        #expect(container["ports"][0]["protocol"] == "TCP")
        #expect(
            container["livenessProbe"]["periodSeconds"] == 10 && container["livenessProbe"]["httpGet"]["path"] == "/")
        #expect(container["resources"]["requests"]["cpu"] == "1")
        #expect(spec["volumes"][0]["emptyDir"] == [:] && spec["volumes"][1]["configMap"]["defaultMode"] == 420)
        #expect(spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600)
        let created = pods.preparedForCreate(pod)
        #expect(created["status"]["phase"] == "Pending" && created["status"]["qosClass"] == "Burstable")
        #expect(created.generation == 1)
        #expect(pods.defaulted(pod) == pod)
    }

    @Test func controllersGetTheirDefaults() throws {
        let deployment = try type(.deployments).defaulted(
            try object(
                #"{"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"containers":[{"name":"c","image":"x"}]}}}}"#
            ))
        let spec = deployment["spec"]
        #expect(spec["replicas"] == 1 && spec["revisionHistoryLimit"] == 10 && spec["progressDeadlineSeconds"] == 600)
        #expect(spec["strategy"]["rollingUpdate"] == ["maxUnavailable": "25%", "maxSurge": "25%"])
        #expect(spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst")
        #expect(spec["template"]["spec"]["enableServiceLinks"] == nil)
        let service = try type(.services).defaulted(
            try object(#"{"spec":{"type":"LoadBalancer","ports":[{"port":80}]}}"#))
        #expect(service["spec"]["ports"][0] == ["port": 80, "protocol": "TCP", "targetPort": 80])
        #expect(service["spec"]["externalTrafficPolicy"] == "Cluster" && service["spec"]["sessionAffinity"] == "None")
        let secret = try type(.secrets).defaulted(try object(#"{"stringData":{"a":"hello"},"data":{"b":"eA=="}}"#))
        #expect(
            secret["data"] == ["b": "eA==", "a": "aGVsbG8="] && secret["stringData"] == nil
                && secret["type"] == "Opaque")
        let pool = try type(.ipPools).defaulted(try object(#"{"spec":{"cidr":"10.0.0.0/16"}}"#))
        #expect(pool["spec"]["blockSize"] == 26 && pool["spec"]["nodeSelector"] == "all()")
    }

    @Test func jobsAreTiedToTheirPods() throws {
        let jobs = try type(GroupVersionResource("batch", "v1", "jobs"))
        let job = jobs.preparedForCreate(
            jobs.defaulted(
                try object(
                    #"{"metadata":{"name":"j","uid":"u"},"spec":{"template":{"spec":{"containers":[],"restartPolicy":"Never"}}}}"#
                )))
        #expect(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] == "u")
        #expect(job["spec"]["template"]["metadata"]["labels"]["job-name"] == "j")
        #expect(job["spec"]["completions"] == 1 && job["spec"]["backoffLimit"] == 6)
    }

    static let broken: [(String, [String])] = [
        (
            #"{"metadata":{"name":"Bad_Name","namespace":"default"},"spec":{"containers":[{"name":"c","image":"x"}]}}"#,
            [
                #"metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#
            ]
        ),
        (#"{"metadata":{"name":"a","namespace":"b"},"spec":{}}"#, ["spec.containers: Required value"]),
        (
            #"{"metadata":{"name":"a","namespace":"b"},"spec":{"containers":[{"name":"c"},{"name":"c","image":"x"}]}}"#,
            ["spec.containers[0].image: Required value", #"spec.containers[1].name: Duplicate value: "c""#]
        ),
        (
            #"{"metadata":{"name":"a","namespace":"b"},"spec":{"restartPolicy":"Sometimes","containers":[{"name":"c","image":"x","volumeMounts":[{"name":"v","mountPath":"/x"}]}]}}"#,
            [
                #"spec.containers[0].volumeMounts[0].name: Not found: "v""#,
                #"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never""#,
            ]
        ),
        (
            #"{"metadata":{"name":"a","namespace":"b","labels":{"x":"not ok"}},"spec":{"containers":[{"name":"c","image":"x","env":[{}]}]}}"#,
            [
                #"metadata.labels: Invalid value: "not ok": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#,
                "spec.containers[0].env[0].name: Required value",
            ]
        ),
    ]

    @Test(arguments: broken)
    func podsAreRefused(_ text: String, _ expected: [String]) throws {
        #expect(try problems(.pods, text) == expected)
    }

    @Test func aGoodPodPasses() throws {
        let text = #"{"metadata":{"name":"a","namespace":"b"},"spec":{"containers":[{"name":"c","image":"x"}]}}"#
        #expect(try problems(.pods, text) == [])
        #expect(try problems(.pods, text.replacing("\"image\":\"x\"", with: "\"image\":\"y\""), old: text) == [])
        let moved = try problems(
            .pods, text.replacing("\"containers\"", with: "\"nodeName\":\"n\",\"containers\""), old: text)
        #expect(moved.count == 1 && moved[0].hasPrefix("spec: Forbidden: pod updates may not change fields other than"))
    }

    @Test func deploymentsAreChecked() throws {
        let good =
            #"{"metadata":{"name":"a","namespace":"b"},"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
        #expect(try problems(.deployments, good) == [])
        #expect(
            try problems(.deployments, good.replacing(#""labels":{"app":"x"}"#, with: #""labels":{"app":"y"}"#)) == [
                #"spec.template.metadata.labels: Invalid value: {"app":"y"}: `selector` does not match template `labels`"#
            ])
        let renamed = good.replacing(#""app":"x""#, with: #""app":"z""#)
        #expect(
            try problems(.deployments, renamed, old: good) == [
                #"spec.selector: Invalid value: {"matchLabels":{"app":"z"}}: field is immutable"#
            ])
        #expect(
            try problems(
                .deployments,
                #"{"metadata":{"name":"a","namespace":"b"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
            )
                == ["spec.selector: Required value"])
    }

    @Test func servicesAreChecked() throws {
        func service(_ spec: String) -> String { #"{"metadata":{"name":"a","namespace":"b"},"spec":\#(spec)}"# }
        #expect(try problems(.services, service(#"{"ports":[{"port":80}]}"#)) == [])
        #expect(try problems(.services, service("{}")) == ["spec.ports: Required value"])
        #expect(
            try problems(.services, service(#"{"ports":[{"port":0}]}"#)).contains(
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"))
        #expect(
            try problems(.services, service(#"{"ports":[{"port":80,"name":"a"},{"port":80,"name":"b"}]}"#)) == [
                #"spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}"#
            ])
        #expect(
            try problems(
                .services, service(#"{"clusterIP":"10.96.0.9","ports":[{"port":80}]}"#),
                old: service(#"{"clusterIP":"10.96.0.8","ports":[{"port":80}]}"#))
                == [#"spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set"#])
    }

    @Test func poolsAreCheckedBySchema() throws {
        func pool(_ spec: String) throws -> [String] {
            try problems(
                .ipPools,
                #"{"apiVersion":"crd.projectcalico.org/v1","kind":"IPPool","metadata":{"name":"p"},"spec":\#(spec)}"#)
        }
        #expect(try pool(#"{"cidr":"10.0.0.0/16"}"#) == [])
        #expect(try pool("{}").contains("spec.cidr: Required value"))
        let errors = try pool(#"{"cidr":"10.0.0.0/16","ipipMode":"Maybe","natOutgoing":"yes"}"#)
        #expect(errors.contains { $0.hasPrefix(#"spec.ipipMode: Unsupported value: "Maybe": supported values: "#) })
        #expect(
            errors.contains(
                #"spec.natOutgoing: Invalid value: "string": spec.natOutgoing in body must be of type boolean: "string""#
            ))
    }

    @Test func unknownFieldsAndWrongTypesAreNamed() throws {
        let deployments = try type(.deployments)
        let decoded = registry.decode(
            try object(
                #"{"metadata":{"name":"a","creationTimestamp":null},"spec":{"replica":2,"template":{"spec":{"contaners":[],"containers":[{"nam":"x"}]}}}}"#
            ),
            as: deployments)
        #expect(
            decoded.unknownFields == [
                "spec.replica", "spec.template.spec.contaners", "spec.template.spec.containers[0].nam",
            ])
        #expect(decoded.object["spec"]["replica"] == nil && decoded.object.metadata == ["name": "a"])
        #expect(decoded.typeError == nil)
        let wrong = registry.decode(try object(#"{"spec":{"replicas":"two"}}"#), as: deployments)
        #expect(
            wrong.typeError
                == "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32")
        #expect(
            ResourceRegistry.strictDecodingError(deployments, unknown: ["spec.replica"], duplicates: ["spec.replicas"])
                .message
                == #"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica", duplicate field "spec.replicas""#
        )
        let amounts = registry.decode(
            try object(#"{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}}"#),
            as: try type(.pods))
        #expect(amounts.object["spec"]["containers"][0]["resources"]["limits"] == ["cpu": "500m", "memory": "1Gi"])
    }

    @Test func updatesKeepTheStatusAndCountGenerations() throws {
        let deployments = try type(.deployments)
        let old = try object(#"{"metadata":{"name":"a","generation":3},"spec":{"replicas":1},"status":{"replicas":1}}"#)
        let same = try object(
            #"{"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"replicas":1},"status":{"replicas":9}}"#)
        let kept = deployments.preparedForUpdate(same, old: old)
        #expect(kept.generation == 3 && kept["status"]["replicas"] == 1)
        let scaled = deployments.preparedForUpdate(
            try object(#"{"metadata":{"name":"a"},"spec":{"replicas":2}}"#), old: old)
        #expect(scaled.generation == 4)
        let status = deployments.preparedForUpdate(same, old: old, subresource: "status")
        #expect(status["spec"]["replicas"] == 1 && status["status"]["replicas"] == 9 && status.generation == 3)
    }

    @Test func everyDescriptionBelongsToAServedKind() throws {
        for type in registry.resources {
            let object = KubeObject([
                "apiVersion": JSON(type.apiVersion), "kind": JSON(type.kind), "metadata": ["name": "x"],
            ])
            // No description may trap on an object with nothing in it.
            let full = type.preparedForCreate(type.defaulted(object))
            _ = type.validate(full)
            let table = TableRenderer(type).table([full], now: Timestamp(seconds: 0))
            #expect(
                table["rows"][0]["cells"].array?.count == table["columnDefinitions"].array?.count, "\(type.resource)")
        }
    }
}
