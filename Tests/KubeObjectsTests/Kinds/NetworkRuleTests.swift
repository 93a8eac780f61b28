// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite struct NetworkRuleTests {
    static let network: [KindRow] = [
        KindRow(
            "Service", #"{"spec":{"type":"Odd"}}"#,
            [
                #"spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#
            ]
        ),
        KindRow("Service", #"{"spec":{"type":"ExternalName"}}"#, ["spec.externalName: Required value"]),
        KindRow(
            "Service", #"{"spec":{"ports":[{"port":80},{"port":81}]}}"#,
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]
        ),
        KindRow(
            "Service", #"{"spec":{"ports":[{"port":80,"nodePort":30000}]}}"#,
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
        ),
        KindRow(
            "Service", #"{"spec":{"type":"NodePort","clusterIP":"None"}}"#,
            [#"spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services"#]
        ),
        KindRow(
            "Service", #"{"spec":{"clusterIP":"x"}}"#,
            [
                #"spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","10.0.0.2"]}}"#,
            [
                #"spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family"#
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"ipFamilies":["IPv4","IPv4"],"ipFamilyPolicy":"Odd"}}"#,
            [
                #"spec.ipFamilies[1]: Duplicate value: "IPv4""#,
                #"spec.ipFamilyPolicy: Unsupported value: "Odd": supported values: "PreferDualStack", "RequireDualStack", "SingleStack""#,
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"externalIPs":["127.0.0.1"]}}"#,
            [
                #"spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#
            ]
        ),
        KindRow(
            "Service",
            #"{"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":86401}}}}"#,
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"
            ]
        ),
        KindRow("Service", #"{"spec":{"sessionAffinityConfig":{"clientIP":{}}}}"#, []),
        KindRow(
            "Service", #"{"spec":{"externalTrafficPolicy":"Local"}}"#,
            [
                #"spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services"#
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"healthCheckNodePort":30000}}"#,
            [
                "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"loadBalancerSourceRanges":["10.0.0.0/8"]}}"#,
            ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]
        ),
        KindRow(
            "Service", #"{"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":["x"]}}"#,
            [
                #"spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
            ]
        ),
        KindRow(
            "Service", #"{"spec":{"loadBalancerClass":"a/b"}}"#,
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]
        ),
        KindRow(
            "Service", #"{"spec":{"trafficDistribution":"Odd"}}"#,
            [
                #"spec.trafficDistribution: Unsupported value: "Odd": supported values: "PreferClose", "PreferSameNode", "PreferSameZone""#
            ]
        ),
        KindRow(
            "Endpoints", #"{"subsets":[{"ports":[{"port":80}]}]}"#,
            ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]
        ),
        KindRow(
            "Endpoints", #"{"subsets":[{"addresses":[{"ip":"0.0.0.0"}],"ports":[{"port":1},{"port":2}]}]}"#,
            [
                #"subsets[0].addresses[0].ip: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)"#,
                "subsets[0].ports[0].name: Required value", "subsets[0].ports[1].name: Required value",
            ]
        ),
        KindRow("EndpointSlice.discovery.k8s.io", #"{"addressType":null}"#, ["addressType: Required value"]),
        KindRow(
            "EndpointSlice.discovery.k8s.io", #"{"endpoints":[{"addresses":[]},{"addresses":["2001:db8::1"]}]}"#,
            [
                "endpoints[0].addresses: Required value: must contain at least 1 address",
                #"endpoints[1].addresses[0]: Invalid value: "2001:db8::1": must be an IPv4 address"#,
            ]
        ),
        KindRow(
            "EndpointSlice.discovery.k8s.io", #"{"ports":[{"name":"a","port":1},{"name":"a","port":2}]}"#,
            [#"ports[1].name: Duplicate value: "a""#]
        ),
        KindRow(
            "Ingress.networking.k8s.io", #"{"spec":{"defaultBackend":null}}"#,
            ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]
        ),
        KindRow(
            "Ingress.networking.k8s.io", #"{"spec":{"rules":[{"host":"10.0.0.1","http":{"paths":[]}}]}}"#,
            [
                #"spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address"#,
                "spec.rules[0].http.paths: Required value",
            ]
        ),
        KindRow(
            "Ingress.networking.k8s.io",
            #"{"spec":{"rules":[{"http":{"paths":[{"path":"a//b","pathType":"Prefix","backend":{}},{"path":"/","backend":{}}]}}]}}"#,
            [
                #"spec.rules[0].http.paths[0].path: Invalid value: "a//b": must be an absolute path"#,
                #"spec.rules[0].http.paths[0].path: Invalid value: "a//b": must not contain '//'"#,
                #"spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required"#,
                "spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified",
            ]
        ),
        KindRow(
            "Ingress.networking.k8s.io", #"{"spec":{"defaultBackend":{"service":{"port":null}}}}"#,
            ["spec.defaultBackend: Required value: port name or number is required"]
        ),
        KindRow(
            "IngressClass.networking.k8s.io",
            #"{"spec":{"controller":"x","parameters":{"kind":"K","name":"n","scope":"Namespace"}}}"#,
            [
                #"spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")"#,
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ]
        ),
        KindRow(
            "NetworkPolicy.networking.k8s.io", #"{"spec":{"ingress":[{"from":[{}]}]}}"#,
            ["spec.ingress[0].from[0]: Required value: must specify a peer"]
        ),
        KindRow(
            "NetworkPolicy.networking.k8s.io",
            #"{"spec":{"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/16","except":["10.0.0.0/8"]}}],"ports":[{"port":80,"endPort":70}]}]}}"#,
            [
                "spec.egress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
                #"spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`"#,
            ]
        ),
        KindRow(
            "NetworkPolicy.networking.k8s.io",
            #"{"spec":{"ingress":[{"ports":[{"port":"http","endPort":90},{"endPort":90}]}]}}"#,
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
                "spec.ingress[0].ports[1].endPort: Invalid value: 90: may not be specified when `port` is not specified",
            ]
        ),
    ]

    @Test(arguments: network) func rowsOfNetwork(_ row: KindRow) throws { try row.check() }
}
