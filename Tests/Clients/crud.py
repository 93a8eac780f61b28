# SPDX-License-Identifier: Apache-2.0
"""Every stable kind through the typed API of Kubernetes' Python client: create, read, list, patch, replace, watch and
delete. The client refuses answers without a required field or with a value of a wrong type."""
import inspect, re, sys
import kubernetes.client as k
from kubernetes import config, watch

config.load_kube_config()
NAMESPACE = "clients"
POD = {"containers": [{"name": "main", "image": "catbird/lab-frontend:v1"}], "schedulerName": "nobody"}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD}
JOB = {"template": {"spec": {**POD, "restartPolicy": "Never"}}, "suspend": True}
SELECTOR = {"matchLabels": {"app": "x"}}
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WEBHOOK = {"name": "a.example.com", "clientConfig": {"url": "https://127.0.0.1:9"}, "sideEffects": "None",
           "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
           "rules": [{"operations": ["CREATE"], "apiGroups": ["nobody.example.com"], "apiVersions": ["v1"],
                      "resources": ["nothings"]}]}
SUBJECT = [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}]


def role(kind):
    return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "view"}, "subjects": SUBJECT}


# What a kind needs besides its name. A kind that is not here needs nothing.
NEEDS = {
    "Pod": {"spec": POD}, "PodTemplate": {"template": TEMPLATE},
    "ReplicationController": {"spec": {"replicas": 0, "selector": {"app": "x"}, "template": TEMPLATE}},
    "Deployment": {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}},
    "ReplicaSet": {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}},
    "DaemonSet": {"spec": {"selector": SELECTOR, "template": {
        **TEMPLATE, "spec": {**POD, "nodeSelector": {"no": "node"}}}}},
    "StatefulSet": {"spec": {"replicas": 0, "serviceName": "x", "selector": SELECTOR, "template": TEMPLATE}},
    "ControllerRevision": {"revision": 1, "data": {"a": 1}},
    "Job": {"spec": JOB}, "CronJob": {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": JOB}}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 3, "scaleTargetRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}},
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [], "ports": []},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}},
    "IngressClass": {"spec": {"controller": "example.com/x"}},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "ServiceCIDR": {"spec": {"cidrs": ["10.200.0.0/24"]}},
    "IPAddress": {"spec": {"parentRef": {"resource": "services", "name": "x", "namespace": NAMESPACE}}},
    "PersistentVolume": {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                                  "hostPath": {"path": "/tmp/x"}, "storageClassName": "none"}},
    "PersistentVolumeClaim": {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                                       "resources": {"requests": {"storage": "1Gi"}}}},
    "StorageClass": {"provisioner": "example.com/x"}, "CSIDriver": {"spec": {}},
    "CSINode": {"spec": {"drivers": []}}, "CSIStorageCapacity": {"storageClassName": "x"},
    "VolumeAttachment": {"spec": {"attacher": "x", "nodeName": "x", "source": {"persistentVolumeName": "x"}}},
    "VolumeAttributesClass": {"driverName": "example.com", "parameters": {"a": "b"}},
    "LimitRange": {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "64"}}]}},
    "ResourceQuota": {"spec": {"hard": {"configmaps": "100"}}},
    "PriorityClass": {"value": 7}, "RuntimeClass": {"handler": "x"},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": SELECTOR}},
    "Role": {"rules": [RULE]}, "ClusterRole": {"rules": [RULE]},
    "RoleBinding": role("ClusterRole"), "ClusterRoleBinding": role("ClusterRole"),
    "Lease": {"spec": {"holderIdentity": "x"}},
    "Event": {"involvedObject": {"kind": "Pod", "name": "x", "namespace": NAMESPACE}, "reason": "X", "message": "x",
              "type": "Normal"},
    "CertificateSigningRequest": None,
    "MutatingWebhookConfiguration": {"webhooks": [WEBHOOK]}, "ValidatingWebhookConfiguration": {"webhooks": [WEBHOOK]},
    "ValidatingAdmissionPolicy": {"spec": {"validations": [{"expression": "true"}], "matchConstraints": {
        "resourceRules": [{"operations": ["CREATE"], "apiGroups": ["nobody.example.com"], "apiVersions": ["v1"],
                           "resources": ["nothings"]}]}}},
    "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "x", "validationActions": ["Deny"]}},
    "MutatingAdmissionPolicy": None, "MutatingAdmissionPolicyBinding": None,
    "CustomResourceDefinition": None, "APIService": None, "Node": {"spec": {"unschedulable": True}},
    "FlowSchema": {"spec": {"priorityLevelConfiguration": {"name": "exempt"}}},
    "PriorityLevelConfiguration": {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
    "DeviceClass": {"spec": {}}, "ResourceClaim": {"spec": {}}, "ResourceClaimTemplate": {"spec": {"spec": {}}},
    "ResourceSlice": {"spec": {"driver": "x.example.com", "nodeName": "x", "pool": {
        "name": "x", "generation": 1, "resourceSliceCount": 1}}},
    "Binding": None, "Namespace": {},
}
EVENTS_V1 = {"regarding": {"kind": "Pod", "name": "x", "namespace": NAMESPACE}, "reason": "X", "note": "x",
             "type": "Normal", "action": "X", "reportingController": "example.com/x", "reportingInstance": "x",
             "eventTime": "2026-01-01T00:00:00.000000Z"}
CRD = {"metadata": {"name": "things.clients.example.com"}, "spec": {
    "group": "clients.example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
    "versions": [{"name": "v1", "served": True, "storage": True,
                  "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
APISERVICE = {"metadata": {"name": "v1.clients.example.org"}, "spec": {
    "group": "clients.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
    "service": {"name": "x", "namespace": NAMESPACE}, "insecureSkipTLSVerify": True}}
MUTATING = {"spec": {"reinvocationPolicy": "Never", "matchConstraints": NEEDS["ValidatingAdmissionPolicy"]["spec"][
    "matchConstraints"], "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}}
WHOLE = {"CustomResourceDefinition": CRD, "APIService": APISERVICE,
         "MutatingAdmissionPolicy": MUTATING, "MutatingAdmissionPolicyBinding": {"spec": {"policyName": "x"}}}

# Stable only in the minor version of the client, which is later than the API's; so is StoragemigrationV1Api.
LATER = ["cluster_trust_bundle", "pod_certificate_request", "device_taint_rule"]


def kinds():
    """The typed APIs of stable versions with the names of their kinds, as create_... spells them."""
    for name, api in sorted(inspect.getmembers(k, inspect.isclass)):
        if not re.fullmatch(r"[A-Za-z]+V[0-9]+Api", name) or name == "StoragemigrationV1Api":
            continue
        for method, _ in inspect.getmembers(api, inspect.isfunction):
            found = re.fullmatch(r"create_(namespaced_)?([a-z0-9_]+)", method)
            if not found or method.endswith(("_with_http_info", "_without_preload_content")):
                continue
            if f"delete_{found[1] or ''}{found[2]}" not in dir(api):
                continue
            if found[2] not in LATER:
                yield name, api(), found[2], bool(found[1])


def kind_of(api, word, namespaced):
    """The kind that reading answers with, without its version."""
    source = inspect.getsource(getattr(api, f"read_{'namespaced_' if namespaced else ''}{word}"))
    model = re.search(r"'200'\s*:\s*['\"]([A-Za-z0-9]+)", source)[1]
    return re.sub(r"^(CoreV1|EventsV1|ResourceV1|V[0-9]+)", "", model)


def exercise(api_name, api, word, namespaced):
    kind = kind_of(api, word, namespaced)
    if NEEDS.get(kind, {}) is None and kind not in WHOLE:
        return None
    body = dict(WHOLE.get(kind) or NEEDS.get(kind, {}))
    if api_name == "EventsV1Api":
        body = dict(EVENTS_V1)
    name = "10.200.0.9" if kind == "IPAddress" else f"client-{word.replace('_', '-')}"
    body["metadata"] = body.get("metadata") or {"name": name}
    name = body["metadata"]["name"]
    prefix, where = ("namespaced_", [NAMESPACE]) if namespaced else ("", [])

    def call(verb, *arguments, **options):
        return getattr(api, f"{verb}_{prefix}{word}")(*arguments, **options)

    made = call("create", *where, body)
    assert made.metadata.uid, "no uid"
    assert call("read", name, *where).metadata.name == name
    listed = call("list", *where)
    assert any(item.metadata.name == name for item in listed.items), "not in the list"
    patched = call("patch", name, *where, {"metadata": {"labels": {"patched": "yes"}}})
    assert patched.metadata.labels["patched"] == "yes"
    # The client's own watch looks for this kind under a name that its models do not have.
    seen = kind == "ResourceClaim" or next(iter(watch.Watch().stream(
        getattr(api, f"list_{prefix}{word}"), *where, resource_version=made.metadata.resource_version,
        field_selector=f"metadata.name={name}", timeout_seconds=10)))
    assert seen is True or seen["type"] == "MODIFIED" and seen["object"].metadata.name == name, seen["type"]
    while True:
        fresh = call("read", name, *where)
        fresh.metadata.annotations = {"replaced": "yes"}
        try:
            assert call("replace", name, *where, fresh).metadata.annotations["replaced"] == "yes"
            break
        except k.ApiException as error:
            if error.status != 409:  # a controller wrote its status meanwhile: clients read again
                raise
    call("delete", name, *where)
    return kind


core = k.CoreV1Api()
core.create_namespace({"metadata": {"name": NAMESPACE}})
passed, failed = 0, []
for api_name, api, word, namespaced in kinds():
    try:
        passed += exercise(api_name, api, word, namespaced) is not None
    except Exception as error:  # each kind is told of, whatever went wrong
        failed.append(f"{api_name} {word}: {type(error).__name__}: {str(error)[:400]}")
core.delete_namespace(NAMESPACE)
print(f"Python client: {passed} kinds created, read, listed, patched, watched, replaced and deleted")
for line in failed:
    print(f"FAILED: {line}", file=sys.stderr)
sys.exit(bool(failed) or passed < 55)
