"""Which files may leave which place (deployments/policy.yml), and which would by the bindings of a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from claire.commands.site.flows import Flow, Workflow
from claire.core.command.errors import UsageError
from claire.core.command.findings import Findings
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

Role = Literal["data", "driver", "hpc"]
POLICY = "deployments/policy.yml"
#: Types of deployments that run on the machine of StreamFlow, unless they wrap another one.
_HERE = ("local", "docker", "docker-compose", "singularity", "slurm", "pbs", "flux")


@dataclass(frozen=True)
class Rule:
    """Files, as a pattern of their name, that some steps may take; all steps without any."""

    files: str
    steps: tuple[str, ...] = ()


Policy = Mapping[tuple[Role, Role], Sequence[Rule]]


@dataclass(frozen=True)
class Places:
    """Where the steps of a workflow run. `bound`: the deployment of a step; `data`: the place of `index`."""

    bound: Mapping[str, str]
    places: Mapping[str, str]
    data: str

    def place(self, step: str) -> str:
        """Return the place of a step, by the name of its deployment; "" for the machine of StreamFlow."""
        return self.places[self.bound[step]] if step else ""

    def role(self, step: str) -> Role:
        """Return what the place of a step is; of "" that of the machine of StreamFlow."""
        place = self.place(step)
        if place == self.data:
            return "data"
        return "hpc" if place else "driver"


def read_policy(path: Path | None = None) -> Policy:
    """Read a policy, the shipped one by default. Raises UsageError if it is none."""
    path = path or shipped(POLICY)
    remedy = "Write rules as in deployments/policy.yml."
    document = read_yaml_mapping(path, remedy)
    try:
        return {
            _pair(border): tuple(Rule(rule["files"], tuple(rule.get("steps", ()))) for rule in rules)
            for border, rules in document.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path.name} is no policy: {error!r}", remedy) from error


def _pair(border: str) -> tuple[Role, Role]:
    giver, taker = border.split(" to ")
    roles: dict[str, Role] = {"data": "data", "driver": "driver", "hpc": "hpc"}
    return roles[giver], roles[taker]


def places_of(workflow: Workflow, bound: Mapping[str, str], deployments: Mapping[str, Any]) -> Places:
    """Return where the steps of a workflow run: deployments that wrap the same one share its place."""
    index = next(step for step in workflow.steps if PurePosixPath(step).name == "index")
    places = {name: place_of(name, deployments) for name in deployments}
    return Places(bound, places, places[bound[index]])


def place_of(name: str, deployments: Mapping[str, Any]) -> str:
    """Return the place of a deployment: the one that it wraps in the end, "" for the machine of StreamFlow."""
    wraps = deployments[name].get("wraps")
    if wraps:
        return place_of(wraps["deployment"] if isinstance(wraps, dict) else wraps, deployments)
    return "" if deployments[name].get("type") in _HERE else name


def allowed(policy: Policy, border: tuple[Role, Role], file: str, step: str) -> bool:
    """Return whether a file, by its name or pattern, may cross to a step ("" for the results)."""
    name = PurePosixPath(step).name
    return any(
        fnmatchcase(file, rule.files) and (not rule.steps or name in rule.steps) for rule in policy.get(border, ())
    )


def crossing(workflow: Workflow, places: Places) -> list[Flow]:
    """Return the flows of a workflow that leave a place."""
    return [flow for flow in workflow.flows if places.place(flow.origin.step) != places.place(flow.consumer)]


def check_policy(workflow: Workflow, places: Places, policy: Policy, unsent: Sequence[str], findings: Findings) -> None:
    """Add a fault for each step that would take files which may not leave their place.

    `unsent`: inputs that the job leaves out or names by their path at the site.
    """
    broken: dict[tuple[str, str], list[str]] = {}
    for flow in crossing(workflow, places):
        border = places.role(flow.origin.step), places.role(flow.consumer)
        files = [file for file in flow.origin.files if not (flow.origin.step == "" and file in unsent)]
        refused = [file for file in files if not allowed(policy, border, file, flow.consumer)]
        if refused:
            broken.setdefault((flow.consumer, flow.origin.step), []).extend(refused)
    for (consumer, giver), files in broken.items():
        taker = f"{consumer} is bound to {places.bound[consumer]}" if consumer else "the results come to the driver"
        source = f"of {giver} ({places.bound[giver]})" if giver else "of the job"
        findings.fault(
            f"{taker}: {', '.join(sorted({*files}))} {source} may not go there",
            f"Bind it where {giver or 'the data'} is. {POLICY} says which files may leave which place.",
        )
