# SPDX-License-Identifier: Apache-2.0
"""exec, logs and port-forward of a running pod through Kubernetes' Python client."""
import time
import kubernetes.client as k
from kubernetes import config, watch
from kubernetes.stream import portforward, stream

config.load_kube_config()
core = k.CoreV1Api()
core.create_namespaced_pod("default", {
    "metadata": {"name": "streams"},
    "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "main", "image": "catbird/lab-frontend:v1"}]}})
for event in watch.Watch().stream(core.list_namespaced_pod, "default", field_selector="metadata.name=streams",
                                  timeout_seconds=60):
    conditions = {condition.type: condition.status for condition in event["object"].status.conditions or []}
    if conditions.get("Ready") == "True":
        break
else:
    raise SystemExit("FAILED: the pod did not become ready")

call = stream(core.connect_get_namespaced_pod_exec, "streams", "default", command=["sh", "-c", "cat; echo to stderr >&2; exit 7"],
              stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
call.write_stdin("through stdin\n")
out = ""
while call.is_open() and "through stdin" not in out:
    call.update(timeout=5)
    out += call.read_stdout() if call.peek_stdout() else ""
assert out == "through stdin\n", out
call.close()
simple = stream(core.connect_get_namespaced_pod_exec, "streams", "default", command=["hostname"], stdout=True, stderr=True)
assert simple.strip() == "streams", simple
failing = stream(core.connect_get_namespaced_pod_exec, "streams", "default", command=["sh", "-c", "exit 7"], stdout=True,
                 stderr=True, _preload_content=False)
failing.run_forever(timeout=10)
assert failing.returncode == 7, failing.returncode

forward = portforward(core.connect_get_namespaced_pod_portforward, "streams", "default", ports="3000")
connection = forward.socket(3000)
connection.setblocking(True)
connection.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
answer = b""
while piece := connection.recv(65536):
    answer += piece
connection.close()
assert answer.startswith(b"HTTP/1.") and b" 200 " in answer.split(b"\r\n")[0] + b" ", answer[:200]

logs = core.read_namespaced_pod_log("streams", "default")
assert isinstance(logs, str)
core.delete_namespaced_pod("streams", "default")
print("Python client: exec with stdin and exit codes, port-forward, logs")
