"""Everything that is checked, and what is printed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from claire.commands.check import Parameters
from claire.commands.check.inputs import Seen, check_key, check_places, look, read_tables
from claire.commands.check.job import Job, read_job
from claire.commands.check.needs import Needs, check_needs, estimate, gib
from claire.commands.check.values import check_grid, check_values, model_of
from claire.core.command.errors import UsageError
from claire.core.command.findings import Finding, Findings
from claire.core.command.shipped import shipped
from claire.core.contracts.plan import Plan
from claire.index.early import Outlook
from claire.plan.work import cost_line


@dataclass
class Checked:
    """A job with all that was found, and what a run of it will be as far as it is known."""

    job: Job
    workflow: Path
    findings: Findings
    plan: Plan | None = None
    seen: Seen | None = None
    needs: Needs | None = None

    def error(self) -> UsageError:
        """Return the error that names every fault."""
        count = len(self.findings.faults)
        lines = [line for fault in self.findings.faults for line in fault.lines()]
        return UsageError(
            "\n  ".join([f"{self.job.path.name} has {count} fault{'s' if count > 1 else ''}:", *lines]),
            "Correct the job file, its tables or the grid; docs/usage.md describes every input.",
        )


def run(parameters: Parameters) -> None:
    """Print what the run will be and what is odd; raise UsageError with everything that is wrong."""
    checked = check(parameters)
    print("\n".join(report(checked, parameters.list)))
    if checked.findings.faults:
        raise checked.error()


def check(parameters: Parameters, here: bool = False) -> Checked:
    """Return all that is found in a job, with `here` of one that this machine runs. Raises UsageError if it is none."""
    workflow = parameters.workflow or shipped("cwl/main.cwl")
    findings = Findings()
    job = read_job(parameters.job, workflow, findings)
    checked = Checked(job, workflow, findings)
    check_values(job, findings)
    planned = check_grid(job, findings)
    checked.plan = planned[0] if planned else None
    check_key(job, findings)
    check_places(job, findings, here)
    if parameters.no_headers:
        read_tables(job, findings)
    else:
        checked.seen = look(job, parameters.threads, findings)
    if checked.seen:
        size = job.options("preprocess").get("size") or model_of("preprocess").model_fields["size"].default
        outlook = checked.seen.outlook
        entering = [scan.series for scan in outlook.entering] if outlook else []
        checked.needs = estimate(entering or checked.seen.chosen, size, checked.plan, planned[1] if planned else [])
        check_needs(checked.needs, job, findings)
    return checked


def report(checked: Checked, names: bool) -> Iterator[str]:
    """Yield the lines that are printed: what the run will be, notes and warnings; faults are the error's.

    With `names` the patients, series and files behind each finding are named, those of faults too.
    """
    job, findings = checked.job, checked.findings
    if not findings.faults:
        yield f"{job.path.name}: all {len(job.values)} keys are inputs of {checked.workflow.name}; no fault was found"
    yield from (f"  {line}" for line in _summary(checked))
    unseen = [*job.at_site()]
    if unseen:
        yield f"not checked here: {', '.join(unseen)} (paths at the site)"
    if not unseen and checked.seen is None and job.local("source"):
        yield "not checked: the headers of the series, hence patients, classes and folds"
    for title, group in (("notes", findings.notes), ("warnings", findings.warnings)):
        if group:
            yield f"{title}:"
            for finding in group:
                yield from _bullet(finding, names)
    if names and any(fault.names for fault in findings.faults):
        yield "behind the faults:"
        for fault in findings.faults:
            if fault.names:
                yield from _bullet(fault, names)


def _bullet(finding: Finding, names: bool) -> Iterator[str]:
    first, *others = finding.lines()
    yield f"- {first}"
    yield from (f"  {line}" for line in others)
    if names:
        yield from (f"    {printable(name)}" for name in finding.names)


def printable(text: str) -> str:
    """Replace control characters of headers and tables, which could control the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _summary(checked: Checked) -> Iterator[str]:
    seen, findings = checked.seen, checked.findings
    if seen:
        outlook = seen.outlook
        yield f"series     {len(seen.series)} found, {len(seen.chosen)} chosen" + (
            f", {len(outlook.labelled)} with a label, {len(outlook.entering)} can enter" if outlook else ""
        )
        if outlook and outlook.patients:
            yield from _patients(outlook)
    if checked.plan:
        yield f"trainings  {cost_line(checked.plan)}"
    if checked.needs:
        needs = checked.needs
        yield (
            f"needs      at most {gib(needs.data)} of disk for data, {gib(needs.views)} for each training, "
            f"{gib(needs.weights)} for weights; {gib(needs.memory)} of memory a training"
        )
    yield f"found      {len(findings.faults)} faults, {len(findings.warnings)} warnings"


def _patients(outlook: Outlook) -> Iterator[str]:
    sizes = Counter(patient.label for patient in outlook.patients)
    order = outlook.classes or sorted(sizes)
    classes = ", ".join(f"{sizes[name]} {printable(name)}" for name in order)
    yield f"patients   {len(outlook.patients)}: {classes}"
    if outlook.folds:
        yield f"folds      {_folds(outlook, order)}"


def _folds(outlook: Outlook, classes: Sequence[str]) -> str:
    """Return how many patients of each class the folds test: `3, each tests 2 covid, 2 to 3 normal`."""
    folds = outlook.folds
    assert folds is not None  # noqa: S101 (the caller has looked)
    label = {patient.patient: patient.label for patient in outlook.patients}
    tested = [Counter(label[patient] for patient in folds.roles(k)["test"]) for k in range(folds.count)]
    spans = []
    for name in classes:
        least, most = (bound(counts[name] for counts in tested) for bound in (min, max))
        spans.append(f"{least if least == most else f'{least} to {most}'} {printable(name)}")
    return f"{folds.count}, each tests {', '.join(spans)}"
