# SPDX-License-Identifier: Apache-2.0
"""What scripts/store-kills and scripts/attack share: writers that keep a journal of what was acknowledged, watchers that
go on where they were, and the comparison of both with what the server has in the end.
"""
import base64, http.client, json, os, random, ssl, subprocess, threading, time

path = "/api/v1/namespaces/default/configmaps"
stop = threading.Event()
failures = []


def fail(text):
    failures.append(text)
    stop.set()


class Connection:
    """One connection to the server, made anew when it breaks."""

    def __init__(self, host, port, context):
        self.host, self.port, self.context, self.connection = host, port, context, None

    def request(self, method, path, body=None, timeout=5, stream=False):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=timeout)
        try:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            self.connection.request(method, path, body and json.dumps(body), {"Content-Type": kind})
            response = self.connection.getresponse()
            return response if stream else (response.status, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def server(work):
    """Host, port and TLS context of the current kubeconfig's cluster."""
    config = json.loads(subprocess.check_output(["kubectl", "config", "view", "--raw", "--minify", "-o", "json"]))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    files = {}
    for name, holder, key in (("ca", cluster, "certificate-authority"), ("cert", user, "client-certificate"),
                              ("key", user, "client-key")):
        files[name] = holder.get(key)
        if not files[name]:
            files[name] = os.path.join(work, name)
            with open(files[name], "wb") as file:
                file.write(base64.b64decode(holder[key + "-data"]))
    context = ssl.create_default_context(cafile=files["ca"])
    context.load_cert_chain(files["cert"], files["key"])
    host, port = cluster["server"].removeprefix("https://").split(":")
    return host, int(port), context


class Writer(threading.Thread):
    """Writes objects of its own, and remembers what was acknowledged and what may have happened besides."""

    def __init__(self, number, target):
        super().__init__(daemon=True)
        self.number, self.connection = number, Connection(*target)
        self.known = {}  # name -> the acknowledged sequence number, None for deleted
        self.open = {}  # name -> sequence numbers sent without an answer since; None for a deletion
        self.acknowledged = {}  # revision -> name and text: of every write, also of those overwritten since
        self.last, self.unanswered, self.random = 0, 0, random.Random(number)

    def run(self):
        sequence = 0
        while not stop.is_set():
            sequence += 1
            name = f"w{self.number}-{self.random.randrange(50)}"
            exists = self.known.get(name) is not None
            unclear = name in self.open
            text = f"{sequence}-" + "x" * self.random.randrange(900)
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {"first": text, "last": text}}
            if unclear or (exists and self.random.random() < 0.8):
                method, where, value = "PATCH", f"{path}/{name}", sequence
                body = {"data": body["data"]}
            elif exists:
                method, where, body, value = "DELETE", f"{path}/{name}", None, None
            else:
                method, where, value = "POST", path, sequence
            try:
                status, answer = self.connection.request(method, where, body)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                self.open.setdefault(name, []).append(value)
                time.sleep(0.005)  # the server is dead: this loop is how one sees it come back
                continue
            if status == 404 and unclear:
                # It went with an earlier, unanswered request, or never came.
                if None not in self.open[name] and self.known.get(name) is not None:
                    return fail(f"{name} is gone, though nobody deleted it")
                self.known[name] = None
                del self.open[name]
                continue
            if status >= 300:
                return fail(f"{method} {name}: {status} {answer[:300]!r}")
            self.open.pop(name, None)
            self.known[name] = value
            if method != "DELETE":
                revision = int(json.loads(answer)["metadata"]["resourceVersion"])
                if revision <= self.last:
                    return fail(f"revision {revision} of {name} came after {self.last}")
                self.last = revision
                self.acknowledged[revision] = (name, text)


class Watcher(threading.Thread):
    """Follows everything from one revision on, and goes on after each break where it was."""

    def __init__(self, target, revision):
        super().__init__(daemon=True)
        self.connection, self.revision, self.seen, self.resumed = Connection(*target), revision, {}, 0
        self.state = {}

    def run(self):
        while not stop.is_set():
            try:
                response = self.connection.request(
                    "GET", f"{path}?watch=1&resourceVersion={self.revision}", timeout=30, stream=True)
                if response.status != 200:
                    return fail(f"the watch from {self.revision} was refused: {response.status} {response.read(300)!r}")
                self.resumed += 1
                while True:
                    line = response.readline()
                    if not line.endswith(b"\n"):
                        break
                    event = json.loads(line)
                    metadata = event["object"]["metadata"]
                    if event["type"] == "ERROR":
                        return fail(f"the watch from {self.revision} failed: {event}")
                    revision = int(metadata["resourceVersion"])
                    if revision <= self.revision:
                        return fail(f"a watcher saw revision {revision} after {self.revision}")
                    wanted = "ADDED" if metadata["name"] not in self.state else ("MODIFIED", "DELETED")
                    if event["type"] not in wanted:
                        return fail(f"a watcher saw {event['type']} of {metadata['name']} out of order")
                    if event["type"] == "DELETED":
                        del self.state[metadata["name"]]
                    else:
                        self.state[metadata["name"]] = event["object"]["data"]["first"]
                    self.revision = revision
                    self.seen[revision] = (metadata["name"], event["object"]["data"]["first"])
            except (OSError, http.client.HTTPException, ValueError):
                pass
            self.connection.close()
            time.sleep(0.005)


def check(control, writers, watchers):
    status, answer = control.request("GET", path)
    listing = json.loads(answer)
    now, items = int(listing["metadata"]["resourceVersion"]), {}
    for item in listing["items"]:
        items[item["metadata"]["name"]] = item
    for writer in writers:
        for name in set(writer.known) | set(writer.open):
            item = items.get(name)
            found = None
            if item:
                if item["data"]["first"] != item["data"]["last"]:
                    return fail(f"{name} is half written")
                found = int(item["data"]["first"].split("-")[0])
            allowed = [writer.known.get(name)] + writer.open.get(name, [])
            if found not in allowed:
                return fail(f"{name} has write {found}, and {allowed} were acknowledged or sent last")
    # Watchers are done when they have seen the last change of a ConfigMap.
    last = max([int(item["metadata"]["resourceVersion"]) for item in items.values()]
               + [revision for writer in writers for revision in writer.acknowledged])
    stop.clear()
    deadline = time.monotonic() + 30
    for watcher in watchers:
        if not watcher.is_alive():
            again = Watcher((control.host, control.port, control.context), watcher.revision)
            again.state, again.seen, again.resumed = watcher.state, watcher.seen, watcher.resumed
            again.start()
            watchers[watchers.index(watcher)] = again
    while any(watcher.revision < last for watcher in watchers) and time.monotonic() < deadline and not stop.is_set():
        time.sleep(0.02)
    stop.set()
    everything = {revision: write for writer in writers for revision, write in writer.acknowledged.items()}
    for watcher in watchers:
        missed = [revision for revision, write in everything.items() if watcher.seen.get(revision) != write]
        if missed:
            return fail(f"a watcher missed {len(missed)} acknowledged changes, such as revision {min(missed)}")
        if watcher.seen != watchers[0].seen:
            return fail("two watchers saw different changes")
        held = {name: item["data"].get("first", "") for name, item in items.items()}
        mine = {name: text for name, text in watcher.state.items() if name.startswith("w")}
        if mine != {name: text for name, text in held.items() if name.startswith("w")}:
            return fail("a watcher ends with other objects than a list")
