"""One scan explained: maps, candidates, interventions, the crucial set and how faithful each map is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from claire.core.command.errors import RejectedScan
from claire.core.contracts.cohort import Scan
from claire.core.contracts.lesions import CALLED, Background, ExplainedScan, Interaction, Lesion, Outcome
from claire.core.imaging.infill import INDEPENDENT, lung_statistics
from claire.explain import Parameters
from claire.explain.healing.healer import Healer
from claire.explain.lesions.candidates import Candidates, find_candidates, removal_labels, renumbered
from claire.explain.lesions.describe import describe
from claire.explain.lesions.interventions import (
    Effects,
    Removals,
    Shares,
    crucial_set,
    make_infills,
    measure,
    ranks,
    shapley,
)
from claire.explain.lesions.sentence import NOT_BETTER, sentence
from claire.explain.maps.attribution import FEW, MAPS, saliency_maps
from claire.explain.maps.faithfulness import curves, lesion_scores
from claire.explain.probe import Case, Cases, log_odds_of, target_class
from claire.explain.refine import ChosenNetwork, scores

#: Outcome by whether the scan is labelled positive, where it is called positive and where it is not.
OUTCOMES_POSITIVE: dict[bool, Outcome] = {True: "TP", False: "FP"}
OUTCOMES_NEGATIVE: dict[bool, Outcome] = {True: "FN", False: "TN"}
#: Maps that may propose regions, where they are computed.
PROPOSING = ("integrated_gradients", "grad_cam", "healing")


@dataclass(frozen=True)
class Setting:
    """Settings shared by all scans of a fold.

    `healed_odds`: median log-odds of the fold's healed validation scans, None if none was measured; `better`: whether
    the network is shown to be better than chance; if not, nothing is ranked, and `unranked` is said of the scan.
    `healer`: None where none was trained.
    """

    chosen: ChosenNetwork
    healer: Healer | None
    healed_odds: float | None
    better: bool
    classes: tuple[str, ...]
    parameters: Parameters
    cases: Cases
    unranked: str = NOT_BETTER


@dataclass
class ScanResult:
    """An explained scan. `maps`: (slices, size, size) of the view by method; `explained`: its entry in `lesions.json`.

    `candidates` are numbered by the ids of their lesions. `healed`: (kept slices, rows, columns) int16 HU without the
    crucial lesions, without all where none is crucial. `curves`: (deletion, insertion) by method, of scans called
    positive; `evaluations`: count of network evaluations.
    """

    case: Case
    candidates: Candidates
    maps: dict[str, np.ndarray]
    explained: ExplainedScan
    healed: np.ndarray
    curves: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    evaluations: int = 0


def explain_scan(scan: Scan, setting: Setting, rng: np.random.Generator) -> ScanResult:
    """Explain one scan. Raises RejectedScan if its view holds no lung."""
    case, probe = setting.cases.get(scan), setting.chosen.probe
    if not case.lungs.any():
        raise RejectedScan("no_lungs", "no lung in the slices that the network sees")
    logits = probe.scan_logits(case)
    target = target_class(logits)
    maps = _maps(case, setting, target)
    explained = _call(scan, setting, logits)
    called = explained.outcome in CALLED
    limit = setting.parameters.candidates if called else -(-setting.parameters.candidates // 2)
    proposing = {name: maps[name] for name in PROPOSING if name in maps}
    candidates = find_candidates(case, proposing, limit)
    result = ScanResult(case, candidates, maps, explained, case.prepared_hu)
    if candidates.labels.any():
        _intervene(result, setting, target, called, rng)
    result.explained = result.explained.model_copy(
        update={"sentence": sentence(result.explained, setting.better, setting.unranked)}
    )
    return result


def _maps(case: Case, setting: Setting, target: int) -> dict[str, np.ndarray]:
    parameters, names = setting.parameters, FEW if setting.parameters.maps == "few" else tuple(MAPS)
    healthy = lung_statistics(case.view.hu, case.view.lungs, case.view.spacing_mm).mean
    maps = saliency_maps(
        setting.chosen.probe, case, healthy, target, names, parameters.attribution_steps, parameters.seed
    )
    return maps | ({"healing": setting.healer.heal(case)[0]} if setting.healer else {})


def _outcome(label: str, called: bool, classes: Sequence[str]) -> Outcome:
    """Return the outcome of a call; of a scan without a label the call alone."""
    if not label:
        return "P" if called else "N"
    return (OUTCOMES_POSITIVE if called else OUTCOMES_NEGATIVE)[classes.index(label) > 0]


def _call(scan: Scan, setting: Setting, logits: np.ndarray) -> ExplainedScan:
    """The network's prediction for a scan, still without lesions and pictures."""
    decision = int(setting.chosen.decide(logits))
    return ExplainedScan(
        scan=scan.scan,
        patient=scan.patient,
        label=scan.label,
        probability=_probability(logits),
        decision=setting.classes[decision],
        explained_class=setting.classes[target_class(logits)],
        outcome=_outcome(scan.label, decision > 0, setting.classes),
    )


def _intervene(result: ScanResult, setting: Setting, target: int, called: bool, rng: np.random.Generator) -> None:
    """Measure the candidates, order them by Δ and number them by rank."""
    case, candidates = result.case, result.candidates
    taken = removal_labels(candidates, case.prepared_lungs)
    infills = make_infills(case, taken > 0, rng)
    removals = Removals(setting.chosen.probe, case, taken, infills)
    effects = measure(removals, len(candidates), candidates.everything, target)
    few = 1 < len(candidates) <= setting.parameters.shapley
    shares = shapley(removals, len(candidates), candidates.everything, target) if few else None
    crucial = _crucial(removals, candidates, effects, setting) if called and setting.better else frozenset()
    order, delta = effects.order(), effects.delta()
    result.explained = result.explained.model_copy(
        update={
            "lesions": _lesions(result, effects, shares, crucial, setting.better),
            "candidates_left_out": candidates.left_out,
            "probability_without": _probability(removals.mean_logits([crucial])[0]) if crucial else None,
            "background": _background(removals, candidates, effects, setting, target),
            "interactions": _interactions(shares, order),
        }
    )
    if called and len(candidates) > 1:
        by_method = lesion_scores(candidates.labels, len(candidates), result.maps, case)
        by_method["interventions"] = delta
        result.curves = curves(removals, by_method, candidates.everything, target)
    filled = np.isin(taken, sorted(crucial or candidates.everything))
    painted = np.concatenate([[0.0], delta, [0.0]])[candidates.labels]
    result.maps = {"interventions": case.projection.apply(painted)} | result.maps
    result.healed = np.where(filled, np.rint(infills["noise"]), case.prepared_hu).astype(np.int16)
    result.candidates = renumbered(candidates, order)
    result.evaluations = removals.evaluations


def _lesions(
    result: ScanResult, effects: Effects, shares: Shares | None, crucial: frozenset[int], ranked: bool
) -> tuple[Lesion, ...]:
    """Return the candidates by Δ, numbered from 1; a rank needs a Δ above the noise of the infills."""
    candidates, delta, noise = result.candidates, effects.delta(), effects.noise()
    rank, low, high = ranks(effects)
    by_infill = effects.by_infill()
    lesions = []
    for label in effects.order():
        i = label - 1
        description = describe(candidates.labels, label, result.case)
        counts = ranked and abs(delta[i]) > noise
        lesions.append(
            Lesion(
                id=int(rank[i]),
                kind=candidates.kind(label),
                rank=int(rank[i]) if counts else None,
                rank_low=int(low[i]) if counts else None,
                rank_high=int(high[i]) if counts else None,
                crucial=label in crucial,
                **description._asdict(),
                proposers=candidates.proposers[i],
                delta=_round(delta[i]),
                delta_per_ml=_round(delta[i] / max(description.volume_ml, 1e-3)),
                delta_probability=_round(effects.probability[i]),
                noise=_round(noise),
                necessity=_mean_over(effects.necessity, i),
                sufficiency=_mean_over(effects.sufficiency, i),
                delta_by_infill={name: _round(values[i]) for name, values in by_infill.items()},
                infills_agree=len({by_infill[name][i] > 0 for name in INDEPENDENT}) == 1,
                shapley=None if shares is None else _round(shares.values[i]),
            )
        )
    return tuple(lesions)


def _mean_over(values: Mapping[str, np.ndarray], i: int) -> float:
    return _round(float(np.mean([values[name][i] for name in INDEPENDENT])))


def _round(value: float) -> float:
    return round(float(value), 4) + 0.0


def _crucial(removals: Removals, candidates: Candidates, effects: Effects, setting: Setting) -> frozenset[int]:
    """Return the crucial candidates of a scan called positive: lesions alone if they suffice, else with regions."""
    delta, noise = effects.delta(), effects.noise()
    order = [label for label in effects.order() if delta[label - 1] > noise]

    def turned(removed: frozenset[int]) -> bool:
        return int(setting.chosen.decide(removals.mean_logits([removed])[0])) == 0

    lesions = [label for label in order if candidates.kind(label) == "lesion"]
    return crucial_set(lesions, delta, turned) or crucial_set(order, delta, turned)


def _probability(logits: np.ndarray) -> float:
    return round(float(scores(logits)), 6)


def _background(
    removals: Removals, candidates: Candidates, effects: Effects, setting: Setting, target: int
) -> Background:
    """What the network says without any candidate, and which share of the rise over a healed scan that is."""
    logits = removals.mean_logits([frozenset(), candidates.everything])
    base, empty = float(log_odds_of(logits[:1], target)[0]), float(np.mean(list(effects.empty.values())))
    healed, share = setting.healed_odds, None
    if healed is not None and base > healed:
        share = _round((empty - healed) / (base - healed))
    return Background(
        log_odds=_round(empty),
        probability=_probability(logits[1]),
        decision=setting.classes[int(setting.chosen.decide(logits[1]))],
        share=share,
    )


def _interactions(shares: Shares | None, order: Sequence[int]) -> tuple[Interaction, ...]:
    """Return the interactions of all pairs, by id, the strongest first."""
    if shares is None:
        return ()
    pairs = [
        Interaction(first=first, second=second, value=_round(shares.interactions[a - 1, b - 1]))
        for (first, a), (second, b) in combinations(enumerate(order, start=1), 2)
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.value)))
