"""What a run has of its own at a site: pods, job names, a folder for its jobs; all of it removed when it ends.

Everything bears the name of the run. The store, claims, secrets, namespaces and the site's own pods are never touched.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.commands.site.file import Pods, Queue, Site, read_site, template_path
from claire.commands.site.pod_state import is_ready, reason_of
from claire.commands.site.reach import Unreachable, at_login, kubectl
from claire.core.command.errors import ClaireError
from claire.core.command.files import write_text

_NAME = re.compile(r"claire-[0-9a-f]{8}")
#: Seconds until a pod of a run must be ready, and for which the others are waited for.
READY, PATIENCE = 300.0, 20.0
#: The labels of everything that a run makes in a namespace, and of the pods of one Deployment of it.
LABEL, PODS = "claire-run", "claire-pods"
#: The folder beside the jobs' folders into which jobs copy what their steps say.
LOGS = "logs"
_STATES = "== states"
#: A job and its state, among what a login node prints besides.
_JOB = re.compile(r"(?m)^(\d\S*) ([A-Z_]+)$")
#: Minutes for which the log of a job is looked at after its last line, and the lines that are read of it.
RECENT, LAST = 3, 12


def run_name(scratch: Path) -> str:
    """Return the name of the run in a folder: the same for every attempt, so that it finds what it left behind."""
    path = scratch / "name"
    if not path.exists():
        write_text(path, f"claire-{secrets.token_hex(4)}\n")
    name = path.read_text().strip()
    if not _NAME.fullmatch(name):
        raise ClaireError(f"{path} does not hold the name of a run", "Remove it: the run then takes a new name.")
    return name


@dataclass(frozen=True)
class AtSite:
    """A run at a site. `keep`: what still works there is left working when the run ends."""

    site: Site
    name: str
    keep: bool = False

    @property
    def pods(self) -> dict[str, Pods]:
        """The pods of the site, by the name of the run's own ones that are like them."""
        return {
            self.name if not number else f"{self.name}-{number}": pods for number, pods in enumerate(self.site.pods)
        }

    def document(self, database: Path) -> dict[str, Any]:
        """Return the site's StreamFlow file with the pods, job names and folders of this run."""
        document: dict[str, Any] = json.loads(json.dumps(self.site.document))
        (workflow,) = document["workflows"].values()
        own = {pods.deployment: name for name, pods in self.pods.items()}
        for binding in workflow.get("bindings", []):
            if (deployment := binding["target"]["deployment"]) in own:
                binding["target"]["service"] = own[deployment]
        for name, deployment in document["deployments"].items():
            if name in {queue.deployment for queue in self.site.queues}:
                self._name_jobs(deployment)
            if deployment["type"] in ("ssh", "slurm") and "workdir" in deployment:
                deployment["workdir"] = f"{deployment['workdir']}/{self.name}"
        document["database"] = {"type": "default", "config": {"connection": str(database)}}
        return document

    def _name_jobs(self, deployment: dict[str, Any]) -> None:
        for service in deployment["config"].get("services", {}).values():
            service["jobName"] = self.name
            service["export"] = ",".join(filter(None, [service.get("export"), f"CLAIRE_RUN={self.name}"]))
            if path := template_path(self.site, service):
                service["file"] = str(path)

    def deploy(self) -> None:
        """Make the pods of this run, as many and as the site's are, and wait for them.

        One is enough to begin with: the others join when there is room. Raises Unreachable if none becomes ready.
        """
        counts = {}
        for name, pods in self.pods.items():
            own = own_pods(
                json.loads(kubectl(pods, ["get", "deployment", pods.name, "--output=json"])), self.name, name
            )
            kubectl(pods, ["apply", "--filename=-"], json.dumps(own))
            counts[name] = own["spec"]["replicas"]
        for name, pods in self.pods.items():
            begun = time.monotonic()
            while True:
                made = json.loads(kubectl(pods, ["get", "pods", f"--selector={PODS}={name}", "--output=json"]))["items"]
                waiting = sorted({reason_of(pod) for pod in made if not is_ready(pod)})
                ready, waited = sum(map(is_ready, made)), time.monotonic() - begun
                if ready >= counts[name] or (ready and waited > PATIENCE):
                    break
                if waited > READY:
                    raise Unreachable(
                        f"no pod of this run becomes ready in namespace {pods.namespace}: {'; '.join(waiting)}"
                    )
                time.sleep(1)
            if ready < counts[name]:
                print(f"{ready} of {counts[name]} pods are ready: {'; '.join(waiting)}", flush=True)

    def jobs(self, queue: Queue) -> dict[str, str]:
        """Return the state of every job of this run that waits or runs, by its number."""
        text = at_login(queue.login, f"squeue --noheader --me --name={self.name} --format='%i %T'\n")
        return dict(_JOB.findall(text))

    def cancel(self) -> int:
        """Cancel every job of this run and remove its pods; return how many jobs and pods there were."""
        count = 0
        for queue in self.site.queues:
            if jobs := self.jobs(queue):
                at_login(queue.login, f"scancel --me --name={self.name}\n")
                count += len(jobs)
        for pods in self.site.pods:
            removed = kubectl(
                pods, ["delete", "deployment", f"--selector={LABEL}={self.name}", "--wait=false", "--output=name"]
            )
            count += sum(line.startswith("deployment") for line in removed.splitlines())
        return count

    def clean(self) -> None:
        """Remove the folders of this run's jobs and of their logs; results in the store stay."""
        for queue in self.site.queues:
            folders = [queue.workdir, *(f"{folder}/{LOGS}" for folder in queue.folders)]
            own = shlex.join(f"{folder}/{self.name}" for folder in folders)
            at_login(queue.login, f"rm -rf -- {own}\n", timeout=600)

    def look(self, queue: Queue) -> tuple[dict[str, list[str]], dict[str, Counter[str]]]:
        """Look at the jobs of this run in a queue.

        Returns the last lines of every job that said something in the last minutes, by its number, and by step how many
        jobs are in each state of SLURM.
        """
        script = f"""
        echo "{_STATES}"; squeue --noheader --me --name={self.name} --format='%k %T'
        for folder in {shlex.join(f"{folder}/{LOGS}/{self.name}" for folder in queue.folders)}; do
            [ -d "$folder" ] || continue
            find "$folder" -name '*.log' -mmin -{RECENT} | while read -r file; do
                echo "== $(basename "$file" .log)"; tail -n {LAST} "$file"
            done
        done
        """
        found: dict[str, list[str]] = {}
        states: dict[str, Counter[str]] = {}
        job = ""
        for line in at_login(queue.login, script).splitlines():
            if line.startswith("== "):
                job = line.removeprefix("== ")
            elif job == _STATES.removeprefix("== "):
                comment, _, state = line.rpartition(" ")
                states.setdefault(comment.partition(":")[0], Counter())[state] += 1
            else:
                found.setdefault(job, []).append(line)
        return found, states


def open_run(path: Path, scratch: Path, keep: bool = False) -> AtSite:
    """Return the run in a folder at the site that a StreamFlow file describes."""
    return AtSite(read_site(path), run_name(scratch), keep)


def own_pods(given: Mapping[str, Any], run: str, name: str) -> dict[str, Any]:
    """Return a Deployment of a run's own, as the site's is; `name`: its own and that of its container."""
    spec = json.loads(json.dumps(given["spec"]))
    others = given["spec"]["selector"].get("matchLabels", {})
    pod = spec["template"]
    kept = {key: value for key, value in pod["metadata"].get("labels", {}).items() if key not in others}
    pod["metadata"] = {"labels": kept | {LABEL: run, PODS: name}}
    containers = pod["spec"]["containers"]
    site_name = given["metadata"]["name"]
    next((each for each in containers if each["name"] == site_name), containers[0])["name"] = name
    spec["selector"] = {"matchLabels": {LABEL: run, PODS: name}}
    spec["replicas"] = max(1, spec.get("replicas", 1))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": given["metadata"]["namespace"], "labels": {LABEL: run}},
        "spec": spec,
    }
