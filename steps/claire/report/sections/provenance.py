"""Origin of every figure: figure → run → variant → cohort hash, from the records."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from claire.core.command.files import canonical_json
from claire.core.command.listing import STEPS
from claire.core.command.record import StepRecord
from claire.report.inputs import Inputs
from claire.report.tables import Cell, Column, Table, duration, table

SHOWN_VALUES = 4
RUN = re.compile(r"^(?P<variant>.+)-f(?P<fold>\d+)$")


@dataclass(frozen=True)
class Trail:
    """The origin of a figure: its variants, their runs, the cohort; each links to its row under Provenance."""

    variants: Sequence[str]
    runs: Sequence[str]
    cohort: str


def trail(inputs: Inputs, variants: Iterable[str]) -> Trail:
    """Return the trail of a figure that shows `variants`."""
    shown = list(dict.fromkeys(variants))
    return Trail(shown, [run for run in runs(inputs) if variant_of(run) in shown], cohort_hash(inputs))


def anchor(kind: str, name: str) -> str:
    """Return the HTML id of the row that describes `name`: letters, digits and dashes only."""
    return f"{kind}-" + re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def cohort_hash(inputs: Inputs) -> str:
    """Return the cohort's hash."""
    return inputs.cohort.sha256


def runs(inputs: Inputs) -> list[str]:
    """Return all runs that are known: from the records of training and from the explained ones."""
    trained = [record.stem for record in inputs.records if record.step == "train"]
    explained = [document.run for document in inputs.explained]
    return sorted(dict.fromkeys(trained + explained), key=_run_order)


def variant_of(run: str) -> str:
    """Return the variant of a run named `<variant>-f<fold>`."""
    match = RUN.match(run)
    return match["variant"] if match else run


def _run_order(run: str) -> tuple[str, int]:
    match = RUN.match(run)
    return (match["variant"], int(match["fold"])) if match else (run, -1)


def versions(inputs: Inputs) -> Table:
    """Return the versions and source hashes that made the results; more than one needs attention."""
    used: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in inputs.records:
        used[record.version, record.source].add(record.step)
    rows = [
        [version, Cell(source, badge="hash"), ", ".join(_in_order(names))]
        for (version, source), names in sorted(used.items())
    ]
    note = "More than one source hash: the steps were not all run by the same installation." if len(rows) > 1 else ""
    return table("Software", ["Version", "Hash of the source", "Steps"], rows, note=note)


def executions(inputs: Inputs) -> Table:
    """Return time and memory by step."""
    by_step = _by_step(inputs)
    rows = []
    for step in _in_order(by_step):
        records = by_step[step]
        times = [record.seconds or 0.0 for record in records]
        cpu = sum(record.cpu_seconds or 0.0 for record in records)
        peak = max(record.peak_memory_mib or 0.0 for record in records)
        starts = [record.started for record in records if record.started]
        rows.append(
            [
                Cell(step, note=STEPS.get(step, "")),
                len(records),
                _time(sum(times)),
                _time(max(times)),
                _time(cpu),
                Cell(f"{peak:.0f} MiB", sort=peak),
                _when(min(starts, default="")),
                _when(max((record.ended or "" for record in records), default="")),
            ]
        )
    columns: list[Column | str] = [
        "Step",
        *(Column(name, True) for name in ("Executions", "Time, all", "Longest", "Processor time", "Peak memory")),
        "First start (UTC)",
        "Last end (UTC)",
    ]
    return table("Executions by step", columns, rows)


def parameters(inputs: Inputs) -> Table:
    """Return the parameters of every step; where executions differ, the first few values and the number of others."""
    rows = []
    for step, records in ((step, _by_step(inputs)[step]) for step in _in_order(_by_step(inputs))):
        values: dict[str, dict[str, None]] = defaultdict(dict)
        for record in records:
            for name, value in record.parameters.items():
                values[name][value if isinstance(value, str) else canonical_json(value)] = None
        rows += [[step, name, _listed(list(values[name]))] for name in sorted(values)]
    return table("Parameters by step", ["Step", "Parameter", "Value"], rows)


def run_table(inputs: Inputs) -> Table:
    """Return one row per run: its variant, fold, time and the hashes of its outputs."""
    records = {record.stem: record for record in inputs.records if record.step == "train"}
    rows = []
    for run in runs(inputs):
        record = records.get(run)
        outputs = record.outputs if record else {}
        weights = next((sha256 for name, sha256 in outputs.items() if name.endswith(".safetensors")), "")
        predictions = next((sha256 for name, sha256 in outputs.items() if name.endswith(".run.zip")), "")
        variant = variant_of(run)
        seconds = record.seconds if record else None
        rows.append(
            [
                Cell(run, badge="target"),
                Cell(variant, link=anchor("variant", variant)),
                run.rpartition("-f")[2],
                _time(seconds) if seconds is not None else None,
                _hash(weights),
                _hash(predictions),
                Cell(cohort_hash(inputs)[:12], badge="hash", link="cohort-hash"),
            ]
        )
    columns: list[Column | str] = ["Run", "Variant", "Fold", Column("Time", True), "Weights", "Predictions", "Cohort"]
    return table(
        "Runs", columns, rows, note="Hashes are cut to 12 digits; see ro-crate-metadata.json for the full ones."
    )


def variant_table(inputs: Inputs) -> Table:
    """Return all settings of every variant that was evaluated or explained, and its runs."""
    described = inputs.metrics.variants
    names = dict.fromkeys([*described, *map(variant_of, runs(inputs)), *(row.variant for row in inputs.leaderboard)])
    rows = []
    for name in sorted(names):
        settings = described[name].variant.model_dump(mode="json") if name in described else {}
        settings_text = ", ".join(f"{key} {_setting(value)}" for key, value in settings.items())
        rows.append(
            [
                Cell(name, badge="target"),
                settings_text,
                ", ".join(run for run in runs(inputs) if variant_of(run) == name),
            ]
        )
    return table("Variants in full", ["Variant", "Settings", "Runs"], rows)


def _setting(value: object) -> str:
    return "/".join(f"{part:g}" for part in value.values()) if isinstance(value, dict) else str(value)


def files_read(inputs: Inputs) -> Table:
    """Return the hash of each input file of this report."""
    rows = [[name, Cell(sha256, badge="hash")] for name, sha256 in sorted(inputs.hashes.items())]
    return table("Files that this report was made of", ["File", "SHA-256"], rows)


def totals(inputs: Inputs) -> dict[str, str]:
    """Return processor time and peak memory over all steps, for people."""
    cpu = sum(record.cpu_seconds or 0.0 for record in inputs.records)
    peak = max((record.peak_memory_mib or 0.0 for record in inputs.records), default=0.0)
    return {"executions": str(len(inputs.records)), "processor": duration(cpu), "memory": f"{peak:.0f} MiB"}


def seeds(inputs: Inputs) -> list[str]:
    """Return all seeds that parameters name, as "step: seed"."""
    step_seeds = {
        (record.step, canonical_json(record.parameters["seed"]))
        for record in inputs.records
        if "seed" in record.parameters
    }
    return [f"{step}: {seed}" for step, seed in sorted(step_seeds)]


def _by_step(inputs: Inputs) -> dict[str, list[StepRecord]]:
    by_step: dict[str, list[StepRecord]] = defaultdict(list)
    for record in inputs.records:
        by_step[record.step].append(record)
    return by_step


def _in_order(names: Iterable[str]) -> list[str]:
    order = list(STEPS)
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _listed(values: Sequence[str]) -> str:
    more = len(values) - SHOWN_VALUES
    return "; ".join(values[:SHOWN_VALUES]) + (f"; … {more} more" if more > 0 else "")


def _time(seconds: float) -> Cell:
    return Cell(duration(seconds), sort=seconds)


def _when(time: str) -> str:
    return time.replace("T", " ").removesuffix("Z")


def _hash(sha256: str) -> Cell | None:
    return Cell(sha256[:12], badge="hash") if sha256 else None
