"""Choosing on validation: the nested headline, the overall winner, and the price of the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from claire.core.command.progress import progress
from claire.core.contracts.metrics import Figure, FoldFigures
from claire.core.contracts.run import Run
from claire.core.statistics.decisions import log_losses
from claire.core.statistics.ranking import macro_auc
from claire.evaluate.comparison import corrected
from claire.evaluate.inputs import Experiment, Sample, by_patient, sample
from claire.evaluate.measure import (
    Measured,
    auc_figure,
    combined_auc,
    figure,
    number,
    ranked,
    thresholds,
)


@dataclass(frozen=True)
class Validated:
    """How a run did on validation patients: AUC (NaN without both classes), log loss, points, share of positives."""

    auc: float
    log_loss: float
    thresholds: tuple[float, float] | None
    positives: float


@dataclass
class Ranking:
    """Everything that choices and differences go by, over patients.

    `validated[variant][fold]`; `parts[variant]` = (concordant, pairs) of the test patients, each (folds, positive
    classes, 1 + samples); `folds[variant]` are the folds of the first axis; `selection[variant]` (samples,) is the mean
    validation AUC in each bootstrap sample, `outside[variant]` (samples,) the test AUC of the patients left out of it.
    """

    validated: dict[str, dict[int, Validated]] = field(default_factory=dict)
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    folds: dict[str, list[int]] = field(default_factory=dict)
    selection: dict[str, np.ndarray] = field(default_factory=dict)
    outside: dict[str, np.ndarray] = field(default_factory=dict)

    def test_auc(self, name: str, folds: Sequence[int] | None = None) -> np.ndarray:
        """Return the test AUC of a variant over `folds` (default: all it has), (1 + samples,)."""
        concordant, pairs = self.parts[name]
        rows = [i for i, fold in enumerate(self.folds[name]) if folds is None or fold in folds]
        return combined_auc(concordant[rows], pairs[rows])

    def mean_validation(self, name: str, what: str = "auc") -> float:
        """Return the mean over folds of the validation AUC or log loss; NaN where no fold has one."""
        values = [getattr(validated, what) for validated in self.validated[name].values()]
        finite = [value for value in values if math.isfinite(value)]
        return float(np.mean(finite)) if finite else float("nan")

    def order(self, names: Sequence[str]) -> list[str]:
        """Return variants from the best: mean validation AUC, then lower validation log loss, then smaller id."""
        return sorted(
            names,
            key=lambda name: _key(self.mean_validation(name), self.mean_validation(name, "log_loss"), name),
        )

    def best_in(self, fold: int, names: Sequence[str]) -> str | None:
        """Return the variant that is best on the validation patients of one fold; None where none was trained on it."""
        validated = {name: self.validated[name][fold] for name in names if fold in self.validated[name]}
        return min(validated, key=lambda name: _key(validated[name].auc, validated[name].log_loss, name), default=None)


def _key(area: float, loss: float, name: str) -> tuple[float, float, str]:
    # Rounded, so that a tie is a tie on every machine.
    return (-round(area, 9) if math.isfinite(area) else 1.0, round(loss, 9), name)


def validate(run: Run, experiment: Experiment) -> tuple[Validated, Sample]:
    """Return how a run did on its validation patients, and these patients."""
    patients = by_patient(sample(experiment, run.scans["validation"]))
    loss = float(log_losses(patients.probability, patients.target).mean())
    share = float(np.mean(patients.target == 1))
    return Validated(macro_auc(patients.probability, patients.target), loss, thresholds(patients), share), patients


def rank(experiment: Experiment, weights: np.ndarray) -> Ranking:
    """Measure the ranking of every variant on validation and test patients, for the data and every bootstrap sample."""
    ranking = Ranking()
    # Patients left out of a sample: on them, what was chosen within it is judged.
    left_out = (weights == 0).astype(float)
    for name, candidate in progress(experiment.candidates.items(), "variants ranked", len(experiment.candidates)):
        ranking.validated[name], inside, tested, outside = {}, [], [], []
        for fold, run in candidate.runs.items():
            ranking.validated[name][fold], validation = validate(run, experiment)
            inside.append(_auc(ranked(validation, weights))[1:])
            test = by_patient(sample(experiment, run.scans["test"]))
            tested.append(ranked(test, weights))
            outside.append(ranked(test, left_out))
        ranking.folds[name], ranking.parts[name] = list(candidate.runs), _stack(tested)
        ranking.selection[name] = _mean_of_known(np.array(inside))
        ranking.outside[name] = combined_auc(*_stack(outside))[1:]
    return ranking


def _stack(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([concordant for concordant, _ in folds]), np.array([pairs for _, pairs in folds])


def _auc(fold: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return combined_auc(*_stack([fold]))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def correct_for_choice(ranking: Ranking, eligible: Sequence[str]) -> Figure:
    """Return the winner's AUC corrected for having been chosen among `eligible`, by BBC-CV (Tsamardinos 2018)."""
    order = ranking.order(eligible)
    inside, outside = ([kind[name] for name in order] for kind in (ranking.selection, ranking.outside))
    value, limits = corrected(np.array(inside), np.array(outside))
    return figure(value, limits, "bbc-cv")


def nested(experiment: Experiment, ranking: Ranking) -> dict[int, str]:
    """Return, for each fold, the variant that is best on the fold's validation patients."""
    chosen = {fold: ranking.best_in(fold, experiment.eligible) for fold in experiment.folds}
    return {fold: name for fold, name in chosen.items() if name is not None}


def fold_rows(ranking: Ranking, names: Mapping[int, str], measured: Mapping[int, Measured]) -> list[FoldFigures]:
    """Return one row per fold: variant, patients, AUCs, operating points, and a note where a class is missing."""
    rows = []
    for fold, tested in measured.items():
        validated = ranking.validated[names[fold]][fold]
        points = tested.thresholds or (float("nan"), float("nan"))
        counts = np.bincount(tested.sample.target, minlength=tested.sample.probability.shape[1]).tolist()
        rows.append(
            FoldFigures(
                fold=fold,
                variant=names[fold],
                patients=tuple(counts),
                auc=auc_figure([tested]),
                auc_validation=number(validated.auc),
                log_loss_validation=number(validated.log_loss),
                threshold=number(points[0]),
                threshold_sensitive=number(points[1]),
                note=_note(counts, validated),
            )
        )
    return rows


def _note(counts: Sequence[int], validated: Validated) -> str:
    notes = []
    if min(counts) == 0:
        notes.append("a class has no test patient: no AUC")
    if not math.isfinite(validated.auc):
        notes.append("a class has no validation patient: the operating point is 0.5")
    return "; ".join(notes)
