# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of Tests/Kubectl/tables with each kubectl that is given, against the cluster of $KUBECONFIG.

A table is a text file. Each table runs in a namespace of its own, top to bottom; tables run side by side.

  == NAME             a case begins
  @ since 1.24: WHY   the case is for kubectl 1.24 and later; `until 1.23: WHY` for 1.23 and earlier
  @ within 20         what follows is repeated until it holds, for 20 seconds at most (what is written behind an answer)
  @ alone NAME        no other case with this NAME runs meanwhile
  @ each kind         the case stands for one for each manifest of files/kinds.yaml: ${kind}, ${name}, ${manifest};
                      `except KIND... until 1.23: WHY` leaves some out
  $ COMMAND           a line for bash; `| LINE` goes on with it
  ? CODE    ?+        the exit code is CODE (0), is any other than 0
  > TEXT   ! TEXT     TEXT is in standard output, in standard error
  >= TEXT  != TEXT    that is all there is, apart from space around it; several lines add up
  >~ RE    !~ RE      the regular expression matches, ^ and $ at each line
  >! TEXT  !! TEXT    TEXT is not there
  # ...               a remark

${ns}, ${tag} (of the version; part of what has no namespace), ${minor}, ${node} and ${node2} are put in; commands find
them as variables, too. `kubectl` is the version under test, with a kubeconfig of its own; the folder holds a copy of files/.
At last the subcommands that each kubectl names in its help are compared with those that its cases ran."""
import argparse, concurrent.futures, dataclasses, json, os, pathlib, re, shutil, signal, subprocess, sys, tempfile
import threading, time

HERE = pathlib.Path(__file__).parent
DEADLINE = 90  # seconds for one command
PRELUDE = r"""
trap 'kill $pid $(jobs -p) 2>/dev/null' EXIT
# first_line PATTERN COMMAND...: runs COMMAND in the background and waits for a line with PATTERN, which is then $found.
# What it goes on to say is read from the descriptor $output.
first_line() {
    local pattern=$1 line seen; shift
    exec {output}< <(exec "$@" 2>&1)
    pid=$!
    while IFS= read -r -u "$output" line; do
        if [[ $line =~ $pattern ]]; then found=$line; return 0; fi
        seen+=$line$'\n'
    done
    echo "no line with $pattern in: $seen" >&2
    return 1
}
"""


@dataclasses.dataclass
class Command:
    line: int
    text: str
    code: int = 0
    expected: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Case:
    table: str
    name: str
    since: tuple = (0, 0)
    until: tuple = (99, 0)
    within: float = 0
    alone: str = ""
    each: bool = False
    excepted: tuple = ((), (0, 0))
    commands: list = dataclasses.field(default_factory=list)


class Malformed(Exception):
    pass


def version(text):
    return tuple(int(part) for part in text.split("."))


def read(path):
    cases = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark, _, rest = line.partition(" ")
        if mark in ("", "#"):
            continue
        if mark == "==":
            cases.append(Case(path.stem, rest))
            continue
        if not cases:
            raise Malformed(f"{path}:{number}: no case has begun")
        case = cases[-1]
        if mark == "@":
            if found := re.fullmatch(r"(since|until) ([0-9.]+): .+", rest):
                setattr(case, found[1], version(found[2]))
            elif found := re.fullmatch(r"within ([0-9]+)", rest):
                case.within = float(found[1])
            elif found := re.fullmatch(r"alone (\S+)", rest):
                case.alone = found[1]
            elif rest == "each kind":
                case.each = True
            elif found := re.fullmatch(r"except ((?:\w+ )+)until ([0-9.]+): .+", rest):
                case.excepted = found[1].split(), version(found[2])
            else:
                raise Malformed(f"{path}:{number}: {line}")
        elif mark == "$":
            case.commands.append(Command(number, rest))
        elif not case.commands:
            raise Malformed(f"{path}:{number}: no command stands before: {line}")
        elif mark == "|":
            case.commands[-1].text += "\n" + rest
        elif mark == "?+":
            case.commands[-1].code = None
        elif mark == "?":
            case.commands[-1].code = int(rest)
        elif mark in (">", "!", ">=", "!=", ">~", "!~", ">!", "!!"):
            case.commands[-1].expected.append((mark, rest))
        else:
            raise Malformed(f"{path}:{number}: {line}")
    return cases


def manifests(documents):
    """The documents with their kinds and names; each has a line `metadata: {name: NAME}`."""
    for text in re.split(r"^---\n", documents, flags=re.M):
        kind = re.search(r"^kind: (\S+)", text, re.M)
        name = re.search(r"^metadata: \{name: (\S+)\}$", text, re.M)
        if kind and name:
            yield kind[1], name[1], text


def missing(command, code, out, err):
    """What was expected and is not so."""
    if code == 0 if command.code is None else code != command.code:
        yield "another exit code than 0" if command.code is None else f"exit code {command.code}"
    whole = {">": [], "!": []}
    for mark, text in command.expected:
        stream = out if mark[0] == ">" else err
        if mark[1:] == "=":
            whole[mark[0]].append(text)
        elif mark[1:] == "~":
            if not re.search(text, stream, re.M):
                yield f"{mark} {text}"
        elif (text in stream) == (mark[1:] in (">", "!") and len(mark) == 2):
            yield f"{mark} {text}"
    for mark, lines in whole.items():
        text = "\n".join(lines)
        if lines and (out if mark == ">" else err).strip() != text.strip():
            yield f"{mark}= {text}"


class Run:
    """One kubectl's way through one table."""
    locks, lock = {}, threading.Lock()

    def __init__(self, kubectl, number, table, folder, nodes):
        self.kubectl, self.version, self.table = kubectl, number, table
        self.tag = "v" + "-".join(str(part) for part in number)
        self.folder = folder / self.tag / table
        self.values = {"minor": str(number[1]), "tag": self.tag, "ns": f"{self.tag}-{table}", "node": nodes[0], "node2": nodes[-1]}
        self.ran, self.passed, self.failed = [], 0, 0

    def prepare(self):
        shutil.copytree(HERE / "files", self.folder / "work")
        (self.folder / "work/of-kind").mkdir()
        (self.folder / "bin").mkdir()
        (self.folder / "bin/kubectl").symlink_to(self.kubectl)
        config = self.folder / "kubeconfig"
        shutil.copy(os.environ["KUBECONFIG"], config)
        self.environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "KUBECONFIG": str(config), "LC_ALL": "C.UTF-8",
            # One folder of discovery for all tables of a version, as a user has it.
            "HOME": str(self.folder.parent), "TMPDIR": str(self.folder), "TERM": "xterm", **self.values}
        # The namespace's own account is made behind the answer, and pods ask for it.
        for command in (f"kubectl create namespace {self.values['ns']}",
                        f"kubectl config set-context --current --namespace={self.values['ns']}",
                        "for i in {1..100}; do kubectl get serviceaccount default && exit; sleep 0.1; done; exit 1"):
            code, _, err = self.shell(command)
            if code:
                raise Malformed(f"{command}: {err}")

    def tidy(self):
        self.shell(f"kubectl delete namespace {self.values['ns']} --wait=false")

    def shell(self, text, more={}):
        process = subprocess.Popen(
            ["bash", "-c", PRELUDE + text], cwd=self.folder / "work", env={**self.environment, **more},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=DEADLINE)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            code = f"none after {DEADLINE} s"
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def judge(self, case, values):
        """The first command that does not hold, with what was expected and seen."""
        for command in case.commands:
            deadline = time.monotonic() + case.within
            text = fill(command.text, values)
            self.ran.append(text)
            wanted = dataclasses.replace(
                command, expected=[(mark, fill(pattern, values)) for mark, pattern in command.expected])
            while True:
                code, out, err = self.shell(text, values)
                failures = list(missing(wanted, code, out, err))
                if not failures or time.monotonic() > deadline:
                    break
                time.sleep(0.25)
            if failures:
                return command, text, failures, code, out, err
        return None

    def cases(self, all_cases):
        for case in all_cases:
            if not case.since <= self.version <= case.until:
                continue
            if not case.each:
                yield case, self.values
                continue
            for kind, name, text in manifests(fill((HERE / "files/kinds.yaml").read_text(), self.values)):
                if kind in case.excepted[0] and self.version <= case.excepted[1]:
                    continue
                values = {**self.values, "kind": kind, "name": name, "manifest": f"of-kind/{kind}-{name}.yaml"}
                (self.folder / "work" / values["manifest"]).write_text(text)
                yield dataclasses.replace(case, name=fill(case.name, values)), values

    def go(self, all_cases, said):
        self.prepare()
        for case, values in self.cases(all_cases):
            with Run.lock:
                lock = Run.locks.setdefault(case.alone, threading.Lock()) if case.alone else threading.Lock()
            began = time.monotonic()
            with lock:
                failure = self.judge(case, values)
            if os.environ.get("TABLE_TIMES"):
                said(f"{time.monotonic() - began:6.1f} s {self.tag} {case.table}: {case.name}")
            if failure is None:
                self.passed += 1
                continue
            self.failed += 1
            command, text, failures, code, out, err = failure
            said("\n".join([
                f"FAILED: kubectl {'.'.join(map(str, self.version))}, {case.table}.table:{command.line}: {case.name}",
                f"  $ {text}", *[f"  expected  {line}" for line in failures], f"  seen      exit code {code}",
                *[f"  stdout    {line}" for line in out.splitlines()[:30]],
                *[f"  stderr    {line}" for line in err.splitlines()[:30]]]))
        self.tidy()
        return self


def fill(text, values):
    return re.sub(r"\$\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def weight(cases):
    """How many commands a table runs, about."""
    return sum(len(case.commands) * (60 if case.each else 1) for case in cases)


def subcommands(kubectl, path=()):
    """The leaves of the tree of commands, as the help tells of them."""
    text = subprocess.run([kubectl, *path, "--help"], capture_output=True, text=True).stdout
    names, inside = [], False
    for line in text.splitlines():
        if re.match(r"\S.*Commands.*:$|Subcommands provided by plugins:$", line):
            inside = not line.startswith("Subcommands")
        elif not line.startswith(" ") and line:
            inside = False
        elif inside and (found := re.match(r"  ([a-z][a-z-]*)\s+\S", line)):
            names.append(found[1])
    if not names and path:
        yield path
    for name in names:
        yield from subcommands(kubectl, (*path, name))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubectl", action="append", required=True)
    parser.add_argument("--only", help="a pattern for the names of tables, or PATTERN:PART of a case's name")
    parser.add_argument("--version", help="only this version, as 1.37")
    parser.add_argument("--jobs", type=int, default=6)
    options = parser.parse_args()

    tables = {path.stem: read(path) for path in sorted((HERE / "tables").glob("*.table"))}
    if options.only:
        table, _, name = options.only.partition(":")
        tables = {key: [case for case in cases if name in case.name] for key, cases in tables.items()
                  if re.search(table, key)}
    nodes = subprocess.run([options.kubectl[-1], "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"],
                           capture_output=True, text=True, check=True).stdout.split()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kubectl-table-"))
    runs, passed, failed = [], 0, 0
    began = time.monotonic()

    def said(text):
        print(text, flush=True)

    try:
        numbers = {}
        for kubectl in options.kubectl:
            told = json.loads(subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True,
                                             text=True, check=True).stdout)["clientVersion"]
            number = (int(told["major"]), int(re.match(r"\d+", told["minor"])[0]))
            if options.version in (None, f"{number[0]}.{number[1]}"):
                numbers[kubectl] = number
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            # The longest first: what is left at the end is short.
            for table, cases in sorted(tables.items(), key=lambda item: -weight(item[1])):
                for index, (kubectl, number) in enumerate(numbers.items()):
                    order = nodes if index % 2 == 0 else nodes[::-1]
                    runs.append(pool.submit(Run(os.path.abspath(kubectl), number, table, folder, order).go, cases, said))
            runs = [run.result() for run in runs]
        for kubectl, number in numbers.items():
            mine = [run for run in runs if run.version == number]
            good, bad = sum(run.passed for run in mine), sum(run.failed for run in mine)
            if not options.only:
                ran = "\n".join(text for run in mine for text in run.ran)
                for path in subcommands(kubectl):
                    if re.search(r"\bkubectl " + " ".join(map(re.escape, path)) + r"\b", ran):
                        good += 1
                    else:
                        bad += 1
                        said(f"FAILED: kubectl {'.'.join(map(str, number))}: no case runs kubectl {' '.join(path)}")
            said(f"kubectl {'.'.join(map(str, number))}: {good} passed, {bad} failed")
            passed, failed = passed + good, failed + bad
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said(f"kubectl: {passed} passed, {failed} failed ({time.monotonic() - began:.0f} s)")
    sys.exit(bool(failed) or not passed)


main()
