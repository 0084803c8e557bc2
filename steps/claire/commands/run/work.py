"""A run from its job file to its results."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from claire.commands.check import Parameters as CheckParameters
from claire.commands.check.values import model_of
from claire.commands.check.work import Checked, check, report
from claire.commands.run import Parameters
from claire.commands.run.arrange import PAGE, README, arrange
from claire.commands.run.engine import Launch, command_line, end, end_all, left_behind, start
from claire.commands.run.state import SCRATCH, read_engine, write_state
from claire.commands.run.watch import Watch
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.lease import is_held, lease, read_holder
from claire.core.command.shipped import shipped

LOG = "log.txt"
#: Seconds between two drawings of the live table.
REDRAW = 0.5


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
        launch = Launch(parameters.engine, parameters.site, shipped("cwl/main.cwl"), parameters.job.resolve())
        execute(launch, out, Watch(totals(checked)), PAGE, README)


def execute(launch: Launch, out: Path, watch: Watch, page: str, readme: str) -> None:
    """Run a workflow and arrange its results in `out`, which this process holds; `page` is where people begin.

    Raises ClaireError with the first cause if it fails.
    """
    scratch, outputs = _fresh(out / SCRATCH)
    code = _follow(command_line(launch, scratch, outputs), launch.job.name, out, outputs, watch)
    if code or not any(outputs.rglob(Path(page).name)):
        raise _failure(out, watch)
    arrange(outputs, out, readme)
    for folder in ("tmp", "out"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    print(f"done in {time.monotonic() - watch.begun:.0f} s: open {out / page}")


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
        _end_left_behind(out)
        yield


def _end_left_behind(out: Path) -> None:
    """End the engine of a run in this folder that was killed: it would work beside the new one."""
    engine = read_engine(out)
    left = left_behind(engine, out / SCRATCH) if engine else []
    if left:
        print(f"the run before was killed and left {len(left)} processes working: ending them", flush=True)
        end_all(left)


def _fresh(scratch: Path) -> tuple[Path, Path]:
    """Return the folders of engine and outputs, emptied; the log of the run before is kept as log.1.txt, …"""
    for folder in ("tmp", "out", "results"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    log = scratch.parent / LOG
    if log.exists():
        number = next(number for number in range(1, 10**6) if not log.with_name(f"log.{number}.txt").exists())
        log.rename(log.with_name(f"log.{number}.txt"))
    return scratch, scratch / "results"


def _follow(command: list[str], job: str, out: Path, outputs: Path, watch: Watch) -> int:
    """Run the engine, show what it does, keep every line in the log; return its exit code. Ends it on Ctrl-C."""
    scratch = out / SCRATCH
    screen = Screen(sys.stdout.isatty())
    process = start(command, scratch, outputs)
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    tell = partial(write_state, scratch, job, watch, process.pid)
    try:
        tell("running")
        with (out / LOG).open("w", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                shown = watch.read(line.rstrip("\n"))
                if shown or screen.due():
                    log.flush()
                    screen.show(watch, shown)
                    tell("running")
        code = process.wait()
        screen.show(watch, "", last=True)
    except BaseException:
        end(process)
        tell("stopped")
        print(
            f"\nstopped: everything on this machine has ended. The same command goes on; log: {out / LOG}",
            file=sys.stderr,
            flush=True,
        )
        raise
    tell("failed" if code else "done")
    return code


class Screen:
    """The live table on a terminal, plain lines elsewhere."""

    def __init__(self, live: bool) -> None:
        self.live, self.drawn, self.last = live, 0, 0.0

    def due(self) -> bool:
        """Return whether the table should be drawn again."""
        return time.monotonic() - self.last > REDRAW

    def show(self, watch: Watch, line: str, last: bool = False) -> None:
        """Draw the table anew, or print a line. Only the `last` table is surely drawn."""
        if not self.live:
            if line:
                print(line, flush=True)
            self.last = time.monotonic()
            return
        if not (self.due() or last):
            return
        rows = [*watch.table(shutil.get_terminal_size().columns)]
        print((f"\x1b[{self.drawn}A\x1b[J" if self.drawn else "") + "\n".join(rows), flush=True)
        self.drawn, self.last = len(rows), time.monotonic()


def _failure(out: Path, watch: Watch) -> ClaireError:
    cause = watch.cause or "no step told a cause; the last lines of the log say what the engine met"
    return ClaireError(
        f"the run failed. First cause:\n  {cause}",
        f"Every line is in {out / LOG}. Correct the cause and run the same command again: what is finished "
        "lies in the store of the job and is not done again.",
    )
