"""One scan explained: maps, candidates, interventions, the crucial set and how faithful each map is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_softmax

from claire.core.command.errors import RejectedScan
from claire.core.contracts.cohort import Scan
from claire.core.contracts.lesions import ExplainedScan, Lesion, Outcome
from claire.explain import Parameters
from claire.explain.healing.healer import Healer
from claire.explain.lesions.candidates import Candidates, describe, find_candidates
from claire.explain.lesions.interventions import (
    INDEPENDENT,
    Effects,
    Removals,
    crucial_set,
    lung_statistics,
    make_infills,
    measure,
    ranks,
    removal_labels,
    shapley,
)
from claire.explain.maps import attribution
from claire.explain.maps.faithfulness import BASELINE, curves, ranked_map
from claire.explain.probe import Case, Cases, target_class
from claire.explain.refine import ChosenNetwork, scores

#: Outcome by whether the scan is labelled positive, where it is called positive and where it is not.
OUTCOMES_POSITIVE: dict[bool, Outcome] = {True: "TP", False: "FP"}
OUTCOMES_NEGATIVE: dict[bool, Outcome] = {True: "FN", False: "TN"}


@dataclass(frozen=True)
class Setting:
    """Settings shared by all scans of a fold.

    `reliable`: whether every gate of the healing is open; `proposing`: whether its mask may propose candidates.
    """

    chosen: ChosenNetwork
    healer: Healer | None
    reliable: bool
    proposing: bool
    classes: tuple[str, ...]
    parameters: Parameters
    cases: Cases

    @property
    def counted(self) -> tuple[str, ...]:
        """The infills that determine Δ and the ranking; the healer's counts only if its gates are open."""
        return (*INDEPENDENT, "healing") if self.reliable else INDEPENDENT


@dataclass
class ScanResult:
    """An explained scan. `maps`: (slices, size, size) by method; `explained`: its entry in `lesions.json`.

    `curves`: (deletion, insertion) by method, of scans called positive; `evaluations`: count of network evaluations.
    """

    case: Case
    candidates: Candidates
    maps: dict[str, np.ndarray]
    explained: ExplainedScan
    curves: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    evaluations: int = 0


def explain_scan(scan: Scan, setting: Setting, rng: np.random.Generator) -> ScanResult:
    """Explain one scan. Raises RejectedScan if its view holds no lung."""
    case, probe = setting.cases.get(scan), setting.chosen.probe
    if not case.lungs.any():
        raise RejectedScan("no_lungs", "no lung in the slices that the network sees")
    logits = probe.scan_logits(case)
    target = target_class(logits)
    maps = saliency_maps(case, setting, target)
    regions = attribution.as_regions(maps, case)
    proposing = {name: regions[name] for name in ("integrated_gradients", "grad_cam")}
    explained = _outcome(scan, setting, logits)
    called = explained.outcome in ("TP", "FP")
    limit = setting.parameters.candidates if called else -(-setting.parameters.candidates // 2)
    candidates = find_candidates(case.view, proposing, maps.get("healing") if setting.proposing else None, limit)
    unranked = ranked_map(np.zeros(case.lungs.shape, np.int16), np.zeros(0), rng)
    result = ScanResult(case, candidates, {"interventions": unranked} | maps, explained)
    if len(candidates):
        _intervene(result, scan, setting, target, rng)
    if called:
        result.curves = _faithfulness(result, setting, target, rng)
    return result


def saliency_maps(case: Case, setting: Setting, target: int) -> dict[str, np.ndarray]:
    """Return the map of each method, (slices, size, size) on the view's grid."""
    healthy, _ = lung_statistics(case, np.zeros(case.lungs.shape, bool))
    probe = setting.chosen.probe
    maps = {
        "grad_cam": attribution.grad_cam(probe, case, target),
        "integrated_gradients": attribution.integrated_gradients(
            probe, case, healthy, target, setting.parameters.attribution_steps
        ),
    }
    return maps | ({"healing": setting.healer.heal(case)[0]} if setting.healer else {})


def _outcome(scan: Scan, setting: Setting, logits: np.ndarray) -> ExplainedScan:
    """The network's prediction for a scan, still without lesions and pictures."""
    decision = int(setting.chosen.decide(logits))
    labelled = setting.classes.index(scan.label) > 0
    return ExplainedScan(
        scan=scan.scan,
        patient=scan.patient,
        label=scan.label,
        probability=round(float(scores(logits)), 6),
        decision=setting.classes[decision],
        explained_class=setting.classes[target_class(logits)],
        outcome=(OUTCOMES_POSITIVE if decision > 0 else OUTCOMES_NEGATIVE)[labelled],
    )


def _intervene(result: ScanResult, scan: Scan, setting: Setting, target: int, rng: np.random.Generator) -> None:
    """Measure the candidates, order them by Δ and number them by rank."""
    case, candidates = result.case, result.candidates
    labels = removal_labels(candidates, case)
    infills = make_infills(case, labels > 0, rng)
    if setting.healer:
        infills["healing"] = setting.healer.inpaint(case, labels > 0, rng)
    removals = Removals(setting.chosen.probe, case, labels, infills)
    effects = measure(removals, len(candidates), target)
    rank, low, high = ranks(effects, setting.counted)
    exact = shapley(removals, len(candidates), target) if len(candidates) <= setting.parameters.shapley else None
    crucial = _crucial(removals, effects, setting)
    by_infill = {name: [_round(value) for value in values] for name, values in effects.by_infill().items()}
    delta = effects.delta(setting.counted)
    lesions = [
        Lesion(
            id=int(rank[i]),
            rank=int(rank[i]),
            rank_low=int(low[i]),
            rank_high=int(high[i]),
            crucial=i + 1 in crucial,
            **describe(candidates, i + 1, case.view, scan)._asdict(),
            delta=_round(delta[i]),
            delta_probability=_round(effects.probability[i]),
            necessity=_mean_over(effects.necessity, i, setting.counted),
            sufficiency=_mean_over(effects.sufficiency, i, setting.counted),
            delta_by_infill={name: values[i] for name, values in by_infill.items()},
            infills_agree=len({by_infill[name][i] > 0 for name in setting.counted}) == 1,
            shapley=None if exact is None else _round(exact[i]),
        )
        for i in range(len(candidates))
    ]
    ordered = tuple(sorted(lesions, key=lambda lesion: lesion.rank))
    result.explained = result.explained.model_copy(
        update={"lesions": ordered, "candidates_left_out": candidates.left_out}
    )
    new_label = np.concatenate([[0], rank]).astype(np.int16)
    result.candidates = replace(candidates, labels=new_label[candidates.labels])
    ranked = ranked_map(labels, delta, rng)
    result.maps = result.maps | {"interventions": ranked}
    result.evaluations = removals.evaluations


def _mean_over(values: Mapping[str, np.ndarray], i: int, infills: tuple[str, ...]) -> float:
    return _round(float(np.mean([values[name][i] for name in infills])))


def _round(value: float) -> float:
    return round(float(value), 4) + 0.0


def _crucial(removals: Removals, effects: Effects, setting: Setting) -> frozenset[int]:
    """Return the crucial lesions of a scan that is called positive; other scans have none."""
    chosen = setting.chosen
    before = int(chosen.decide(removals.logits([("", frozenset())])[0]))
    if before == 0:
        return frozenset()

    def turned(removed: frozenset[int]) -> bool:
        logits = removals.logits([(name, removed) for name in setting.counted])
        return int(chosen.decide(log_softmax(logits, -1).mean(0))) != before

    return crucial_set(effects.delta(setting.counted), turned)


def _faithfulness(
    result: ScanResult, setting: Setting, target: int, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    case = result.case
    maps = attribution.as_regions(result.maps, case) | {
        "hu_raw": attribution.density(case, smoothed=False),
        BASELINE: attribution.density(case, smoothed=True),
        "random": attribution.random_map(case, rng),
    }
    noise = make_infills(case, result.candidates.labels > 0, rng)["noise"]
    return curves(setting.chosen.probe, case, maps, noise, target)
