# SPDX-License-Identifier: Apache-2.0
"""An operator as people write them with kopf: each CronTab gets a ConfigMap of its own and tells of it in its status."""
import kopf
import kubernetes.client as k


@kopf.on.create("stable.example.com", "v1", "crontabs")
@kopf.on.update("stable.example.com", "v1", "crontabs", field="spec")
def reconcile(spec, name, namespace, patch, body, **_):
    data = {"schedule": spec["schedule"]}
    core = k.CoreV1Api()
    wanted = {"metadata": {"name": name}, "data": data}
    kopf.adopt(wanted, owner=body)
    try:
        core.create_namespaced_config_map(namespace, wanted)
    except k.ApiException as error:
        if error.status != 409:
            raise
        core.patch_namespaced_config_map(name, namespace, {"data": data})
    patch.status["replicas"] = spec["replicas"]
    kopf.info(body, reason="Reconciled", message=f"runs at {spec['schedule']}")


@kopf.on.delete("stable.example.com", "v1", "crontabs")
def forget(name, **_):
    print(f"{name} is forgotten", flush=True)
