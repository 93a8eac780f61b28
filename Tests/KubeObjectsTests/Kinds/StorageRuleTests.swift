// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite struct StorageRuleTests {
    static let storage: [KindRow] = [
        KindRow(
            "PersistentVolume", #"{"spec":{"hostPath":null}}"#, ["spec: Required value: must specify a volume type"]),
        KindRow(
            "PersistentVolume", #"{"spec":{"capacity":{"storage":"0"}}}"#,
            [#"spec.capacity[storage]: Invalid value: "0": must be greater than zero"#]
        ),
        KindRow(
            "PersistentVolume", #"{"spec":{"accessModes":["ReadWriteOncePod","ReadWriteOnce"]}}"#,
            ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]
        ),
        KindRow(
            "PersistentVolume", #"{"spec":{"hostPath":null,"local":{"path":"/x"}}}"#,
            ["spec.nodeAffinity: Required value: Local volume requires node affinity"]
        ),
        KindRow(
            "PersistentVolume", #"{"spec":{"hostPath":{"path":"/"},"persistentVolumeReclaimPolicy":"Recycle"}}"#,
            [
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"
            ]
        ),
        KindRow(
            "PersistentVolume", #"{"spec":{"hostPath":null,"csi":{"driver":"d"}}}"#,
            ["spec.csi.volumeHandle: Required value"]
        ),
        KindRow(
            "PersistentVolumeClaim", #"{"spec":{"accessModes":[],"resources":{"requests":null}}}"#,
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        ),
        KindRow(
            "PersistentVolumeClaim", #"{"spec":{"dataSource":{"kind":"Odd","name":"x"}}}"#,
            [
                #"spec.dataSource: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup"#,
                #"spec.dataSourceRef: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup"#,
            ]
        ),
        KindRow(
            "StorageClass.storage.k8s.io", #"{"provisioner":"","reclaimPolicy":"Recycle"}"#,
            [
                "provisioner: Required value",
                #"reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain""#,
            ]
        ),
        KindRow(
            "VolumeAttachment.storage.k8s.io", #"{"spec":{"source":{"persistentVolumeName":null}}}"#,
            [
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            ]
        ),
        KindRow(
            "CSINode.storage.k8s.io",
            #"{"spec":{"drivers":[{"name":"a.b","nodeID":""},{"name":"a.b","nodeID":"n"}]}}"#,
            ["spec.drivers[0].nodeID: Required value", #"spec.drivers[1].name: Duplicate value: "a.b""#]
        ),
        KindRow(
            "CSIDriver.storage.k8s.io", #"{"spec":{"fsGroupPolicy":"Odd","volumeLifecycleModes":["Odd"]}}"#,
            [
                #"spec.fsGroupPolicy: Unsupported value: "Odd": supported values: "File", "None", "ReadWriteOnceWithFSType""#,
                #"spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Ephemeral", "Persistent""#,
            ]
        ),
        KindRow(
            "VolumeAttributesClass.storage.k8s.io", #"{"parameters":null}"#,
            ["parameters: Required value: must contain at least one key/value pair"]
        ),
    ]

    @Test(arguments: storage) func rowsOfStorage(_ row: KindRow) throws { try row.check() }
}
