"""The whole step: choose the network, measure its gates, explain every test scan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError
from claire.core.command.progress import log
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.archive import write_archive
from claire.core.contracts.cohort import Scan
from claire.core.contracts.gates import is_better
from claire.core.contracts.lesions import ExplainedScan, LesionsDocument, write_lesion_table, write_lesions
from claire.core.contracts.run import Predictions
from claire.core.networks.architectures import own_source
from claire.core.statistics.decisions import decide
from claire.explain import Parameters
from claire.explain.documents import lesions_document, write_explained_weights
from claire.explain.each import Archives, explain_each
from claire.explain.evidence import measure_evidence
from claire.explain.healing.fit import fit_healer
from claire.explain.inputs import Inputs, of_training, open_inputs
from claire.explain.listing import list_gates
from claire.explain.maps.faithfulness import ScanCurves, summarise
from claire.explain.new_scans import explain_new_scans
from claire.explain.probe import Cases
from claire.explain.refine import ChosenNetwork, choose_network
from claire.explain.scan import Setting


def run(parameters: Parameters) -> None:
    """Explain the test scans of the weights' fold, or take them from the store; or list what gates need."""
    if parameters.list:
        for line in list_gates(*of_training(parameters)):
            print(line)
        return
    if parameters.model:
        explain_new_scans(parameters)
        return
    inputs = open_inputs(parameters)
    known = {
        "cohort": inputs.cohort.sha256,
        "device": inputs.probe.device.kind,
        "architecture": own_source(inputs.facts.variant.architecture),
    }
    stored("explain", parameters, partial(explain_fold, inputs), known)


def explain_fold(inputs: Inputs, parameters: Parameters) -> None:
    """Explain the test scans of a fold and write maps, pictures, lesions and the record."""
    recorded = parameters.recorded() | {"device": inputs.probe.device.kind}
    hashed: dict[str, Path | str] = dict(zip(("weights", "run", "folds"), of_training(parameters), strict=True))
    hashed["cohort"] = inputs.cohort.sha256
    hashed |= {name: path for name in ("judge", "winner") if (path := getattr(parameters, name)) is not None}
    with Record("explain", inputs.run.name, parameters.out, recorded, hashed) as record:
        explain(inputs, parameters, record)


def explain(inputs: Inputs, parameters: Parameters, record: Record) -> None:
    """Explain the test scans and write every output of the step."""
    cases = Cases(inputs.cohort, inputs.probe.variant)
    chosen = choose_network(inputs, cases, parameters)
    healer = fit_healer(inputs, chosen, cases, parameters)
    measured = measure_evidence(
        chosen, inputs.judge, cases, inputs.guards_fired, parameters.insertions, parameters.seed
    )
    better = inputs.variant_better or is_better(measured.evidence)
    setting = Setting(chosen, healer, measured.healed_odds, better, inputs.cohort.classes, parameters, cases)
    stem = parameters.out / inputs.run.name
    saliency, overlays = stem.with_name(f"{stem.name}.saliency.zip"), stem.with_name(f"{stem.name}.overlays.zip")
    with write_archive(saliency) as maps, write_archive(overlays) as pictures:
        scans, curves = _explain_scans(inputs, setting, Archives(maps, pictures), record)
    document = lesions_document(inputs.run, setting, measured, summarise(curves, parameters.seed), scans)
    paths = [
        saliency,
        overlays,
        write_lesions(stem.with_name(f"{stem.name}.lesions.json"), document),
        write_lesion_table(stem.with_name(f"{stem.name}.lesions.csv"), document),
    ]
    if parameters.keep_weights:
        weights_path = stem.with_name(f"{stem.name}.explained.safetensors")
        paths.append(write_explained_weights(weights_path, inputs.facts, chosen))
    for path in paths:
        record.output(path)
    _report(record, document, chosen)


def _explain_scans(
    inputs: Inputs, setting: Setting, archives: Archives, record: Record
) -> tuple[list[ExplainedScan], list[ScanCurves]]:
    explained: list[ExplainedScan] = []
    curves: list[ScanCurves] = []
    scans = choose_scans(
        inputs.roles["test"],
        inputs.run.scans.get("test"),
        setting.chosen.operating_point,
        setting.parameters.limit,
        setting.parameters.seed,
    )
    for result in explain_each(scans, lambda _: setting, archives, record):
        explained.append(result.explained)
        if result.curves:
            curves.append(ScanCurves(result.explained.patient, result.explained.outcome, result.curves))
        record.counts.update(candidates=len(result.candidates), candidates_left_out=result.candidates.left_out)
    return explained, curves


def choose_scans(
    scans: Sequence[Scan], predicted: Predictions | None, operating_point: float | None, limit: int, seed: int
) -> list[Scan]:
    """Return the scans to explain, in the cohort's order: all, or at most `limit` (0: all).

    Under a limit three quarters are scans that the run's own predictions (`predicted`) call positive and one quarter is
    a random sample of the others; if one group is too small, the other fills up.
    """
    if not limit or len(scans) <= limit:
        return list(scans)
    positive: set[str] = set()
    if predicted is not None:
        positive = set(predicted.scan[decide(predicted.probability, operating_point) > 0].tolist())
    shuffled = [scans[i] for i in np.random.default_rng(seed).permutation(len(scans))]
    called = [scan for scan in shuffled if scan.scan in positive]
    negative = [scan for scan in shuffled if scan.scan not in positive]
    negative_count = min(len(negative), max(limit // 4, limit - len(called)))
    chosen = {scan.scan for scan in called[: limit - negative_count] + negative[:negative_count]}
    return [scan for scan in scans if scan.scan in chosen]


def _report(record: Record, document: LesionsDocument, chosen: ChosenNetwork) -> None:
    record.counts.update(
        scans=len(document.scans),
        lesions=sum(len(scan.lesions) for scan in document.scans),
        crucial=sum(lesion.crucial for scan in document.scans for lesion in scan.lesions),
        pictures=sum(len(scan.images) for scan in document.scans),
        gates_open=sum(gate.open for gate in document.gates),
    )
    record.facts.update(reliable=document.reliable, probability_difference=chosen.difference)
    if not document.scans:
        raise ClaireError("no test scan could be explained", "The log names the scans and why.")
    log.info("network refined: %s (%s)", chosen.refinement.taken, chosen.refinement.reason)
    for gate in document.gates:
        log.info("gate %s %s in this fold: %s", gate.name, "open" if gate.open else "closed", gate.statement)
