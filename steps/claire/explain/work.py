"""The whole step: the inputs checked, the network chosen, its healer trained and judged, every scan explained."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from claire.core.command.errors import ClaireError, RejectedScan, UsageError
from claire.core.command.files import write_json
from claire.core.command.progress import about, log, progress
from claire.core.command.record import Record
from claire.core.command.tables import write_csv
from claire.core.contracts.cohort import Cohort, Scan, open_cohort
from claire.core.contracts.folds import read_folds
from claire.core.contracts.run import Run, read_run
from claire.core.contracts.scans import ShardWriter, write_shard
from claire.core.networks.build import load_network
from claire.core.networks.devices import choose_device, make_deterministic
from claire.explain import documents, network
from claire.explain.cases import Cases
from claire.explain.healing import fit as healing
from claire.explain.healing.gates import may_propose, reliable
from claire.explain.maps.faithfulness import summarise
from claire.explain.pictures import draw as pictures
from claire.explain.probe import Probe
from claire.explain.scan import Setting, explain_scan

if TYPE_CHECKING:
    from claire.explain import Parameters


SAME_GRID = ("dimensions", "view", "size", "slices")


@dataclass(frozen=True)
class Work:
    """The inputs, opened and found to belong together. `roles`: scans by role in the fold of the run."""

    cohort: Cohort
    run: Run
    probe: Probe
    judge: Probe | None
    roles: dict[str, list[Scan]]


def open_work(parameters: Parameters) -> Work:
    """Open all inputs. Raises UsageError where they belong to different runs, cohorts or folds."""
    make_deterministic(parameters.threads)
    where = choose_device(parameters.device)
    cohort, folds = open_cohort(parameters.cohort), read_folds(parameters.folds)
    made, variant, facts = load_network(parameters.weights)
    run = read_run(parameters.run, facts["classes"])
    about("explain", run.name)
    _belong_together(facts, run, cohort)
    roles = {name: cohort.by_patient(patients) for name, patients in folds.roles(facts["fold"]).items()}
    if not roles["test"]:
        raise UsageError(
            f"fold {facts['fold']} has no test scans in this cohort",
            "Give the folds.csv that the run was trained with.",
        )
    tested = run.scans.get("test")
    if tested is not None and set(tested.scan) != {scan.scan for scan in roles["test"]}:
        raise UsageError(
            f"--folds gives fold {facts['fold']} other test scans than run {run.name} had",
            "Give the folds.csv that the run was trained with.",
        )
    probe = Probe(made, variant, where)
    return Work(cohort, run, probe, _open_judge(parameters.judge, probe, facts), roles)


def _belong_together(facts: dict[str, Any], run: Run, cohort: Cohort) -> None:
    if facts["run"] != run.name:
        raise UsageError(
            f"--weights is of run {facts['run']}, --run of {run.name}", "Give the two files of one training."
        )
    if facts["cohort"] != cohort.sha256:
        raise UsageError("--cohort is not the one that the run was trained on", "Give that cohort, or train again.")
    if tuple(facts["classes"]) != cohort.classes:
        raise UsageError("the weights know other classes than the cohort", "Train again on this cohort.")


def _open_judge(path: Path | None, probe: Probe, facts: dict[str, Any]) -> Probe | None:
    if path is None:
        return None
    made, variant, other = load_network(path)
    apart = [name for name in SAME_GRID if getattr(variant, name) != getattr(probe.variant, name)]
    apart += [name for name in ("classes", "cohort", "fold") if other[name] != facts[name]]
    if apart:
        raise UsageError(f"--judge differs from the explained network in {', '.join(apart)}", "Judges share these.")
    return Probe(made, variant, probe.where)


def explain(work: Work, parameters: Parameters, record: Record) -> None:
    """Explain the test scans and write every output of the step."""
    cases = Cases(work.cohort, work.probe.variant)
    chosen = network.choose(work, cases, parameters)
    healer, why_not = healing.train(work, chosen, cases, parameters)
    gates = healing.judge(chosen, healer, work, cases, parameters.seed, why_not)
    setting = Setting(chosen, healer, reliable(gates), may_propose(gates), work.cohort.classes, parameters, cases)
    stem = work.run.name
    paths = {
        name: parameters.out / f"{stem}.{name}"
        for name in ("saliency.zip", "overlays.zip", "lesions.json", "lesions.csv")
    }
    with write_shard(paths["saliency.zip"]) as saliency, write_shard(paths["overlays.zip"]) as overlays:
        scans, found = _scans(work, setting, (saliency, overlays), record)
    document = documents.lesions_document(work.run, setting, gates, summarise(found, parameters.seed), scans)
    write_json(paths["lesions.json"], document)
    write_csv(paths["lesions.csv"], documents.COLUMNS, documents.lesion_rows(document))
    if parameters.keep_weights:
        paths["explained"] = documents.write_weights(
            parameters.out / f"{stem}.explained.safetensors", parameters.weights, chosen
        )
    for path in paths.values():
        record.output(path)
    _tell(record, document, chosen)


def _scans(
    work: Work, setting: Setting, archives: tuple[ShardWriter, ShardWriter], record: Record
) -> tuple[list[dict[str, Any]], list[Any]]:
    documented, found = [], []
    wanted = choose_scans(work.roles["test"], work.run, setting.chosen.operating_point, setting.parameters)
    for scan in progress(wanted, "scans explained"):
        try:
            one = explain_scan(
                scan, setting, np.random.default_rng([setting.parameters.seed, zlib.crc32(scan.scan.encode())])
            )
        except RejectedScan as rejected:
            record.counts[f"set_aside_{rejected.reason}"] += 1
            log.warning("scan %s is left out: %s", scan.scan, rejected)
            continue
        documents.add_maps(archives[0], one)
        one.document["images"] = pictures.add(archives[1], one, setting)
        documented.append(one.document)
        found += [(scan.patient, one.document["outcome"], one.curves)] if one.curves else []
        record.counts.update(candidates=len(one.candidates), candidates_left_out=one.candidates.left_out)
        record.counts["network_evaluations"] += one.evaluations
    return documented, found


def choose_scans(scans: list[Scan], run: Run, operating_point: float, parameters: Parameters) -> list[Scan]:
    """Return the scans to explain, in the cohort's order: all, or at most `--limit`.

    Under a limit three quarters are scans that the run's own predictions call positive and the rest a random sample of
    the others; places that one kind leaves free go to the other.
    """
    if not parameters.limit or len(scans) <= parameters.limit:
        return list(scans)
    predicted = run.scans.get("test")
    chance = {} if predicted is None else dict(zip(predicted.scan, 1 - predicted.probability[:, 0], strict=True))
    order = [scans[i] for i in np.random.default_rng(parameters.seed).permutation(len(scans))]
    called = [scan for scan in order if chance.get(scan.scan, 0.0) >= operating_point]
    others = [scan for scan in order if scan not in called]
    few = min(len(others), max(parameters.limit // 4, parameters.limit - len(called)))
    kept = {scan.scan for scan in called[: parameters.limit - few] + others[:few]}
    return [scan for scan in scans if scan.scan in kept]


def _tell(record: Record, document: dict[str, Any], chosen: network.Chosen) -> None:
    scans = document["scans"]
    record.counts.update(
        scans=len(scans),
        lesions=sum(len(scan["lesions"]) for scan in scans),
        crucial=sum(lesion["crucial"] for scan in scans for lesion in scan["lesions"]),
        pictures=sum(len(scan["images"]) for scan in scans),
        gates_open=sum(gate["open"] for gate in document["gates"]),
    )
    record.facts.update(reliable=document["reliable"], probability_difference=chosen.difference)
    if not scans:
        raise ClaireError("no test scan could be explained", "The log names the scans and why.")
    log.info("network refined: %s (%s)", chosen.refinement.taken, chosen.refinement.reason)
    for gate in document["gates"]:
        log.info("gate %s %s: %s", gate["name"], "open" if gate["open"] else "closed", gate["statement"])
