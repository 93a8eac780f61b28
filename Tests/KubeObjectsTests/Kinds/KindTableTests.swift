// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// What `kubectl get -o wide` shows of an object of each kind that was made an hour ago.
@Suite struct KindTableTests {
    /// A kind, a change of its good object, the names of the columns and the cells, as lists of JSON.
    struct Row: Sendable {
        let kind: String
        let patch: String
        let columns: String
        let cells: String

        init(_ kind: String, _ patch: String, _ columns: String, _ cells: String) {
            self.kind = kind
            self.patch = patch
            self.columns = columns
            self.cells = cells
        }
    }

    static let rows: [Row] = [
        Row(
            "Service",
            #"{"spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","ports":[{"port":80,"nodePort":30080}]},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}"#,
            #"["Name","Type","Cluster-IP","External-IP","Port(s)","Age","Selector"]"#,
            #"["x","LoadBalancer","10.0.0.1","1.2.3.4","80:30080/TCP","60m","<none>"]"#),
        Row(
            "EndpointSlice.discovery.k8s.io", #"{"endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["10.0.0.2"]}]}"#,
            #"["Name","AddressType","Ports","Endpoints","Age"]"#,
            #"["x","IPv4","80","10.0.0.1,10.0.0.2","60m"]"#),
        Row(
            "Ingress.networking.k8s.io",
            #"{"spec":{"rules":[{"host":"a.b"}],"tls":[{}]},"status":{"loadBalancer":{"ingress":[{"hostname":"lb"}]}}}"#,
            #"["Name","Class","Hosts","Address","Ports","Age"]"#,
            #"["x","<none>","a.b","lb","80, 443","60m"]"#),
        Row(
            "StatefulSet.apps", #"{"spec":{"replicas":2},"status":{"readyReplicas":1}}"#,
            #"["Name","Ready","Age","Containers","Images"]"#,
            #"["x","1/2","60m","c","i"]"#),
        Row(
            "CronJob.batch", "{}",
            #"["Name","Schedule","Timezone","Suspend","Active","Last Schedule","Age","Containers","Images","Selector"]"#,
            #"["x","*/5 * * * *","<none>","False",0,"<none>","60m","c","i","<none>"]"#),
        Row(
            "PersistentVolume", #"{"spec":{"claimRef":{"namespace":"n","name":"c"}},"status":{"phase":"Bound"}}"#,
            #"["Name","Capacity","Access Modes","Reclaim Policy","Status","Claim","StorageClass","VolumeAttributesClass","Reason","Age","VolumeMode"]"#,
            #"["x","1Gi","RWO","Retain","Bound","n/c","","<unset>","","60m","Filesystem"]"#),
        Row(
            "PersistentVolumeClaim",
            #"{"spec":{"volumeName":"v","storageClassName":"s"},"status":{"phase":"Bound","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"]}}"#,
            #"["Name","Status","Volume","Capacity","Access Modes","StorageClass","VolumeAttributesClass","Age","VolumeMode"]"#,
            #"["x","Bound","v","1Gi","RWO","s","<unset>","60m","Filesystem"]"#),
        Row(
            "HorizontalPodAutoscaler.autoscaling",
            #"{"spec":{"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":80}}},{"type":"Pods","pods":{"target":{"averageValue":"5"}}},{"type":"External","external":{"target":{"averageValue":"7"}}}]},"status":{"currentReplicas":2,"currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":12}}}]}}"#,
            #"["Name","Reference","Targets","MinPods","MaxPods","Replicas","Age"]"#,
            #"["x","Deployment/d","cpu: 12%/80%, <unknown>/5 + 1 more...","1",3,2,"60m"]"#),
        Row(
            "PodDisruptionBudget.policy", #"{"status":{"disruptionsAllowed":1}}"#,
            #"["Name","Min Available","Max Unavailable","Allowed Disruptions","Age"]"#,
            #"["x","1","N/A",1,"60m"]"#),
        Row(
            "PriorityClass.scheduling.k8s.io", "{}",
            #"["Name","Value","Global-Default","Age","PreemptionPolicy"]"#,
            #"["x",7,"false","60m","PreemptLowerPriority"]"#),
        Row(
            "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io", "{}",
            #"["Name","Type","NominalConcurrencyShares","Queues","HandSize","QueueLengthLimit","Age"]"#,
            #"["x","Limited",30,64,8,50,"60m"]"#),
        Row(
            "APIService.apiregistration.k8s.io",
            #"{"status":{"conditions":[{"type":"Available","status":"False","reason":"Gone"}]}}"#,
            #"["Name","Service","Available","Age"]"#,
            #"["v1.example.com","n/s","False (Gone)","60m"]"#),
        Row(
            "ResourceClaim.resource.k8s.io", #"{"status":{"allocation":{},"reservedFor":[{"name":"p"}]}}"#,
            #"["Name","State","Age"]"#,
            #"["x","allocated,reserved","60m"]"#),
        Row(
            "ResourceSlice.resource.k8s.io", "{}",
            #"["Name","Node","Driver","Pool","Age"]"#,
            #"["x","n","d.example.com","p","60m"]"#),
        Row(
            "ConfigMap", #"{"data":{"a":"b"},"binaryData":{"c":"eA=="}}"#,
            #"["Name","Data","Age"]"#,
            #"["x","2","60m"]"#),
        Row(
            "ServiceAccount", "{}",
            #"["Name","Age"]"#,
            #"["x","60m"]"#),
        Row(
            "CSIDriver.storage.k8s.io", "{}",
            #"["Name","AttachRequired","PodInfoOnMount","StorageCapacity","TokenRequests","RequiresRepublish","Modes","Age"]"#,
            #"["d.example.com","true","false","false","<unset>","false","Persistent","60m"]"#),
        Row(
            "Lease.coordination.k8s.io", "{}",
            #"["Name","Holder","Age"]"#,
            #"["x","h","60m"]"#),
        Row(
            "Role.rbac.authorization.k8s.io", "{}",
            #"["Name","Created At"]"#,
            #"["x","2026-01-01T00:00:00Z"]"#),
        Row(
            "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io", "{}",
            #"["Name","PolicyName","ParamRef","Age"]"#,
            #"["x","x","<unset>","60m"]"#),
    ]

    @Test(arguments: rows) func rowsOfCells(_ row: Row) throws {
        let type = try KindFixtures.type(row.kind)
        var object = type.defaulted(KubeObject(try KindFixtures.object(type, row.patch)))
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        let now = try #require(Timestamp("2026-01-01T01:00:00Z"))
        let table = TableRenderer(type).table([object], now: now)
        let columns = (table["columnDefinitions"].array ?? []).compactMap { $0["name"].string }
        #expect(JSON(columns) == (try JSON(parsing: row.columns)), "\(row.kind)")
        #expect(table["rows"][0]["cells"] == (try JSON(parsing: row.cells)), "\(row.kind)")
    }
}
