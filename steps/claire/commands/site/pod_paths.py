"""The paths of a job in the pods of a site: data that can be read, places that survive a pod and can be written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from claire.commands.check.job import Job
from claire.commands.site.bindings import WORKFLOWS, bound_steps
from claire.commands.site.file import Pods, Site
from claire.commands.site.flows import read_workflow
from claire.commands.site.pod_state import State
from claire.commands.site.probes import readable, site_paths
from claire.commands.site.reach import Answer
from claire.core.command.findings import Findings
from claire.core.command.shipped import shipped

#: Kinds of volumes that vanish with their pod.
_VANISHING = ("emptyDir", "ephemeral", "configMap", "secret", "projected", "downwardAPI")
_REMEDIES = {
    "private": "Add a volume for it: claire site apply with --private mounts the claim claire-private at /private.",
    "data_store": "Add a volume for it: claire site apply with --private mounts the claim claire-private at /private.",
    "store": "Add a volume for it: claire site apply mounts the claim claire-store at /store of claire-learn.",
}


@dataclass(frozen=True)
class Paths:
    """Paths by input: of data that steps in these pods read, and of places that they write and must find again."""

    data: Mapping[str, str]
    places: Mapping[str, str]

    def check_volumes(self, state: State, findings: Findings) -> None:
        """Add faults of places that would vanish with a pod, or are mounted read-only."""
        for name, path in self.places.items():
            mount = state.mount(path)
            volume = state.volumes.get(mount["name"], {}) if mount else {}
            if mount is None or any(kind in volume for kind in _VANISHING):
                findings.fault(f"'{name}' {path} lies on no volume that survives a pod", _REMEDIES[name])
            elif mount.get("readOnly") or volume.get("persistentVolumeClaim", {}).get("readOnly"):
                findings.fault(f"'{name}' {path} lies on a volume that is mounted read-only", _REMEDIES[name])

    def questions(self) -> Iterator[tuple[str, str]]:
        """Yield what a pod is asked: whether each path can be read or written, and the bytes of the source."""
        for name, path in self.data.items():
            yield name, readable(path)
        for name, path in self.places.items():
            existing = f'p={shlex.quote(path)}; while [ ! -e "$p" ]; do p=$(dirname "$p"); done'
            yield name, f'{existing}; test -d "$p" && test -w "$p"'
        if "source" in self.data:
            yield "bytes", f"timeout 5 du -sb {shlex.quote(self.data['source'])} 2>/dev/null | cut -f 1"

    def judge(self, answers: Mapping[str, Answer], findings: Findings) -> None:
        """Add faults of what a pod cannot read or write; of a place whose volume has a fault that is enough."""
        for name, path in self.data.items():
            if not answers[name].done:
                findings.fault(
                    f"'{name}' {path} cannot be read in the pods by their user",
                    "Correct the path, or let user and group 1000 read it on the volume.",
                )
        for name, path in self.places.items():
            told = any(fault.problem.startswith(f"'{name}' ") for fault in findings.faults)
            if not answers[name].done and not told:
                findings.fault(
                    f"'{name}' {path} cannot be written in the pods by their user",
                    "Let user or group 1000 write there on the volume.",
                )


def paths_in(site: Site, pods: Pods, job: Job | None) -> Paths:
    """Return the paths of a job that steps in these pods use: data of the data steps, the store of trainings."""
    if job is None:
        return Paths({}, {})
    bound = bound_steps(read_workflow(shipped(WORKFLOWS[0])), site.bindings)
    reads, trains = (bound.get(step) == pods.deployment for step in ("/data/index", "/experiment/train"))
    names = [*(("private", "data_store") if reads else ()), *(("store",) if trains else ())]
    places = {name: str(job.value(name)) for name in names if job.value(name)}
    return Paths(dict(site_paths(job)) if reads else {}, places)
