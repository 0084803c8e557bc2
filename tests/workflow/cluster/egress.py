"""Prove what crossed: the files that StreamFlow's database and an HPC's folder show, against deployments/policy.yml.

    python tests/workflow/cluster/egress.py --site streamflow.yml --database claire.db [--job job.yml] [--listing FILE]

--listing is a list of the files at the HPC, as `ssh LOGIN find pipeline -type f` prints it. Ends with 1 and names each
file that should not be where it was.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from claire.commands.site.bindings import WORKFLOWS
from claire.commands.site.file import read_site
from claire.commands.site.flows import read_workflow
from claire.commands.site.policy import Policy, Role, allowed, place_of, read_policy
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

#: Inputs of a job that name data of patients, and names that such data have anywhere.
INPUTS = ("source", "labels", "slice_labels", "key")
PATIENTS = ("*.dcm", "*.nii", "*.nii.gz", "key")
#: The deployment of StreamFlow's own machine in its database.
HERE = "__LOCAL__"


@dataclass
class Step:
    """A step as it ran: its deployment, the files that it took by input, and those that it made."""

    deployment: str
    taken: dict[str, set[str]] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Crossing:
    """A file that left a place: its name, the step that made it ("" for the job), the one that took it."""

    file: str
    border: tuple[Role, Role]
    maker: str
    taker: str


def read_steps(database: Path) -> dict[str, Step]:
    """Read the steps of all runs in StreamFlow's database, by their path."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    deployments = _deployments(connection)
    steps: dict[str, Step] = {}
    rows = connection.execute("SELECT id, name, params FROM step WHERE type LIKE '%ExecuteStep'").fetchall()
    for identifier, name, params in rows:
        deployment = deployments.get(json.loads(params)["job_port"])
        if deployment is None:
            continue
        step = steps.setdefault(name, Step(deployment))
        ports = connection.execute("SELECT port, type, name FROM dependency WHERE step = ?", (identifier,)).fetchall()
        for port, kind, title in ports:
            files = {*_files(connection, port)}
            if kind:
                step.made |= files
            elif files:
                step.taken.setdefault(title, set()).update(files)
    return steps


def _deployments(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the deployment of each port that a step gets its jobs from."""
    names = dict(
        connection.execute(
            "SELECT target.id, deployment.name FROM target JOIN deployment ON deployment = deployment.id"
        )
    )
    rows = connection.execute("SELECT params FROM step WHERE type LIKE '%ScheduleStep'").fetchall()
    plans = [json.loads(params) for (params,) in rows]
    return {plan["job_port"]: names[plan["binding_config"]["targets"][0]] for plan in plans}


def _files(connection: sqlite3.Connection, port: int) -> Iterator[str]:
    """Yield the names of the files that went through a port, those in lists and records included."""
    rows = connection.execute("SELECT type, value FROM token WHERE port = ?", (port,)).fetchall()
    for kind, value in rows:
        yield from _names(connection, kind, json.loads(value))


def _names(connection: sqlite3.Connection, kind: str, value: Any) -> Iterator[str]:
    """Yield the names of the files of a token; lists and records hold the identifiers of tokens."""
    if kind.endswith("FileToken"):
        yield from (each["basename"] for each in (value, *value.get("secondaryFiles", [])))
    elif kind.endswith(("ListToken", "ObjectToken")):
        for identifier in value if isinstance(value, list) else value.values():
            query = "SELECT type, value FROM token WHERE id = ?"
            for inner, content in connection.execute(query, (identifier,)).fetchall():
                yield from _names(connection, inner, json.loads(content))


def places(steps: Mapping[str, Step], deployments: Mapping[str, Any]) -> dict[str, tuple[str, Role]]:
    """Return (place, role) of each step; of "" those of StreamFlow's machine."""
    found = {"": ""} | {
        name: "" if step.deployment == HERE else place_of(step.deployment, deployments) for name, step in steps.items()
    }
    data = next(found[name] for name in steps if PurePosixPath(name).name == "index")
    roles: dict[bool, Role] = {True: "hpc", False: "driver"}
    return {name: (place, "data" if place == data else roles[bool(place)]) for name, place in found.items()}


def crossings(steps: Mapping[str, Step], where: Mapping[str, tuple[str, Role]]) -> list[Crossing]:
    """Return the files that left the place where they were made, once each."""
    makers = {file: name for name, step in steps.items() for file in step.made if PurePosixPath(name).name != "pick"}
    found = set()
    for name, step in steps.items():
        for title, files in step.taken.items():
            for file in files:
                maker = makers.get(file, "")
                if where[maker][0] != where[name][0]:
                    # Of the job's own files the policy names the input.
                    found.add(Crossing(file if maker else title, (where[maker][1], where[name][1]), maker, name))
    return sorted(found, key=str)


def strays(listing: Sequence[str], expected: Sequence[str], job: Mapping[str, Any]) -> list[str]:
    """Return the files at an HPC that hold data of patients, or are made by steps and none of those `expected`."""
    given = [PurePosixPath(str(job[name])).name for name in INPUTS if isinstance(job.get(name), str)]
    outputs = [read_workflow(shipped(name)).outputs.values() for name in WORKFLOWS]
    made = {pattern for tools in outputs for patterns in tools for pattern in patterns}
    return [
        path
        for path in listing
        if _matches(path, (*PATIENTS, *given)) or (_matches(path, made) and not _matches(path, expected))
    ]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in patterns)


def expected_at_hpc(steps: Mapping[str, Step], where: Mapping[str, tuple[str, Role]], policy: Policy) -> list[str]:
    """Return what may lie at the HPC: what its steps make, and what a rule lets them take."""
    outputs = {name: files for each in WORKFLOWS for name, files in read_workflow(shipped(each)).outputs.items()}
    there = [name for name in steps if where[name][1] == "hpc"]
    taking = {PurePosixPath(name).name for name in there}
    rules = [rule for (_, taker), rules in policy.items() if taker == "hpc" for rule in rules]
    taken = [rule.files for rule in rules if not rule.steps or taking & {*rule.steps}]
    return [*taken, *(file for name in there for file in (*steps[name].made, *outputs.get(name, ())))]


def main() -> int:
    """Print what crossed each border; return 1 if something should not have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, required=True, help="StreamFlow file of the run")
    parser.add_argument("--database", type=Path, required=True, help="StreamFlow's database of the run")
    parser.add_argument("--job", type=Path, help="job file of the run: the names of its inputs are looked for")
    parser.add_argument("--listing", type=Path, help="list of the files at the HPC, a path a line; - for stdin")
    arguments = parser.parse_args()
    policy = read_policy()
    steps = read_steps(arguments.database)
    if not any(PurePosixPath(name).name == "index" for name in steps):
        print("egress: no run in this database reached the step index", file=sys.stderr)
        return 1
    where = places(steps, read_site(arguments.site).document["deployments"])
    crossed = crossings(steps, where)
    broken = [each for each in crossed if not allowed(policy, each.border, each.file, each.taker)]
    for border in sorted({each.border for each in crossed}):
        files = sorted({each.file for each in crossed if each.border == border})
        print(
            f"{border[0]} -> {border[1]}: {len(files)} files: {', '.join(files[:8])}{', …' if len(files) > 8 else ''}"
        )
    if not any(each.border == ("data", "hpc") for each in crossed):
        print("egress: nothing crossed from the data site to an HPC: this proves nothing of a hybrid", file=sys.stderr)
        return 1
    faults = [f"{each.file} of {each.maker or 'the job'} went to {each.taker} ({each.border[1]})" for each in broken]
    if arguments.listing:
        text = sys.stdin.read() if str(arguments.listing) == "-" else arguments.listing.read_text()
        job = read_yaml_mapping(arguments.job, "Give the job of the run.") if arguments.job else {}
        expected = expected_at_hpc(steps, where, policy)
        print(f"{len(text.splitlines())} files lie at the HPC")
        faults += [f"{path} lies at the HPC" for path in strays(text.splitlines(), expected, job)]
    for fault in faults:
        print(f"egress: {fault}: deployments/policy.yml does not allow it", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
