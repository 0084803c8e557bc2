"""A run from its job file to its results: attempts, until it succeeds or trying again cannot help."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from claire.commands.check import Parameters as CheckParameters
from claire.commands.check.job import Job
from claire.commands.check.values import model_of
from claire.commands.check.work import Checked, check, report
from claire.commands.run import Parameters
from claire.commands.run.arrange import PAGE, README, arrange
from claire.commands.run.at_site import AtSite, open_run
from claire.commands.run.attempt import LOG, OWN, attempt, insist_on_end
from claire.commands.run.cause import Cause, cause_of
from claire.commands.run.engine import Launch, end_all, left_behind
from claire.commands.run.state import SCRATCH, read_engine
from claire.commands.run.watch import Watch, duration
from claire.commands.site.check import check_site
from claire.commands.site.reach import Unreachable
from claire.commands.site.work import report as site_report
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import write_text
from claire.core.command.lease import is_held, lease, read_holder
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping

#: Seconds before the second attempt; before each further one three times as long, up to the most.
PAUSE, MOST = 10.0, 600.0


@dataclass(frozen=True)
class Results:
    """What a workflow ends with: the page where people begin, and the text of the README beside it."""

    page: str
    readme: str


class RunFailed(ClaireError):
    """Every attempt failed; `step` is the one that did in the last one, "" if none is known."""

    def __init__(self, cause: Cause, step: str, log: Path) -> None:
        super().__init__(
            f"the run failed. First cause:\n  {cause.text}",
            f"Every line is in {log}. Correct the cause and run the same command again: what is finished "
            "lies in the store of the job and is not done again.",
        )
        self.cause, self.step = cause, step


def run(parameters: Parameters) -> None:
    """Check the job, run it and arrange the results. Raises UsageError for a faulty job, ClaireError if it fails."""
    out = parameters.out.resolve()
    with alone(out):
        asked = CheckParameters(job=parameters.job, no_headers=parameters.no_headers, threads=parameters.threads)
        checked = check(asked, here=parameters.site is None)
        print("\n".join(report(checked, False)), flush=True)
        if checked.findings.faults:
            raise checked.error()
        if not checked.job.value("store"):
            print("no `store` in the job: a run that is interrupted begins anew", flush=True)
        at_site = site_of(parameters.site, out, parameters.keep_jobs, checked.job)
        launch = launch_of(parameters.engine, "cwl/main.cwl", parameters.job.resolve(), at_site)
        results = Results(PAGE, README)
        try:
            execute(launch, out, lambda: Watch(totals(checked)), results, parameters.attempts)
        except RunFailed as failed:
            if failed.step != "explain":
                raise
            _without_lesions(launch, out, lambda: Watch(totals(checked)), results, failed)


def site_of(site: Path | None, out: Path, keep: bool, job: Job | None) -> AtSite | None:
    """Return the run of a folder at the site of a StreamFlow file, None without one; print what is odd there.

    Raises UsageError with everything that is wrong with the site, before anything runs. `job` None: its data are not
    looked up there.
    """
    if site is None:
        return None
    at_site = open_run(site, out / SCRATCH, keep)
    begun = time.monotonic()
    findings = check_site(at_site.site, job)
    print("\n".join(site_report(at_site.site, findings, time.monotonic() - begun)), flush=True)
    if findings.faults:
        raise findings.error(
            f"{site.name} has", "Correct the site: `claire site check` looks again; docs/deployment.md."
        )
    return at_site


def launch_of(engine: Any, workflow: str, job: Path, at_site: AtSite | None) -> Launch:
    """Return what the engine runs; at a site it is StreamFlow."""
    return Launch("streamflow" if at_site else engine, shipped(workflow), job, at_site)


def execute(launch: Launch, out: Path, new_watch: Callable[[], Watch], results: Results, attempts: int) -> None:
    """Run a workflow and arrange its results in `out`, which this process holds.

    An attempt that fails for a cause outside of the steps is followed by another one, after growing pauses, unless the
    same cause ended the one before and nothing more was finished in between. Raises RunFailed with the last cause.
    """
    begun, before = time.monotonic(), None
    for number in range(1, attempts + 1):
        watch = new_watch()
        cause = _attempt(launch, out, watch, results)
        if cause is None:
            print(f"done in {duration(time.monotonic() - begun)}: open {out / results.page}", flush=True)
            return
        if cause.final or cause.repeats(before) or number == attempts:
            raise RunFailed(cause, watch.failed, out / LOG)
        pause = min(MOST, PAUSE * 3 ** (number - 1))
        print(f"attempt {number} of {attempts} failed: {cause.text}\nagain in {pause:.0f} s", flush=True)
        time.sleep(pause)
        before = cause


def _attempt(launch: Launch, out: Path, watch: Watch, results: Results) -> Cause | None:
    """Run a workflow once; return why it failed, None if its results are arranged."""
    scratch = out / SCRATCH
    try:
        code = attempt(launch, out, watch)
    except Unreachable as error:
        return Cause(str(error), False, 0)
    outputs = scratch / "results"
    if code or not any(outputs.rglob(Path(results.page).name)):
        with (out / LOG).open(encoding="utf-8", errors="replace") as log:
            return cause_of(watch, log)
    arrange(outputs, out, results.readme)
    for folder in ("tmp", "out"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    if launch.at_site and (not launch.at_site.keep or insist_on_end(launch.at_site, OWN)):
        with suppress(Unreachable):  # `claire clean` does it later
            launch.at_site.clean()
    return None


def _without_lesions(
    launch: Launch, out: Path, new_watch: Callable[[], Watch], results: Results, failed: RunFailed
) -> None:
    """Make the report without lesions where only they failed; raise ClaireError that says so."""
    print(f"explain failed: {failed.cause.text}\nmaking the report without lesions", flush=True)
    job = absolute(read_yaml_mapping(launch.job, "Give the job again."), launch.job.parent) | {"explain_folds": []}
    path = write_text(out / SCRATCH / "without-lesions.yml", yaml.safe_dump(job, sort_keys=False))
    execute(replace(launch, job=path), out, new_watch, results, 2)
    raise ClaireError(
        f"the report has no lesions, for explain failed. Cause:\n  {failed.cause.text}",
        "Everything else is there. Correct the cause and run the same command again: only explain and what follows "
        "are done.",
    ) from failed


def absolute(value: Any, folder: Path) -> Any:
    """Return the values of a job file with the paths of its files made absolute, as from its folder."""
    if isinstance(value, list):
        return [absolute(each, folder) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: absolute(each, folder) for name, each in value.items()}
    if made.get("class") in ("File", "Directory") and "path" in made:
        made["path"] = str(folder / made["path"])
    return made


def totals(checked: Checked) -> dict[str, int]:
    """Return the jobs of each step as far as the job tells them; explain may get fewer folds."""
    job, plan = checked.job, checked.plan
    once = dict.fromkeys(("index", "plan", "cohort", "collect", "evaluate", "bundle", "report"), 1)
    shards = job.options("index").get("shards") or model_of("index").model_fields["shards"].default
    known = once | dict.fromkeys(("ingest", "segment", "preprocess"), shards)
    if plan:
        explained = job.value("explain_folds")
        known |= {"train": plan.trainings, "explain": plan.fold_count if explained is None else len(explained)}
    return known


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder of the results; refuse it while another run works there."""
    (out / SCRATCH).mkdir(mode=0o700, exist_ok=True)
    path = out / SCRATCH / "lease"
    if is_held(path):
        holder = read_holder(path)
        who = f"process {holder.process} on {holder.host}" if holder else "another process"
        raise UsageError(f"--out {out} is in use: {who} runs there", "Wait for it, or name another folder.")
    with lease(path):
        end_left_behind(out)
        yield


def end_left_behind(out: Path) -> None:
    """End the engine of a run in this folder that was killed: it would work beside the new one."""
    engine = read_engine(out)
    left = left_behind(engine, out / SCRATCH) if engine else []
    if left:
        print(f"the run before was killed and left {len(left)} processes working: ending them", flush=True)
        end_all(left)
