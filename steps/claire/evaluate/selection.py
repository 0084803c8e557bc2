"""The choice on validation: the nested headline, the overall winner, and the correction for having chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from claire.core.command.progress import progress
from claire.core.contracts.metrics import Figure, FoldFigures
from claire.core.contracts.run import Run
from claire.core.statistics import FloatArray
from claire.core.statistics.decisions import log_losses
from claire.core.statistics.ranking import macro_auc
from claire.evaluate.auc import Pairs, combined_auc, count_pairs, stack_pairs
from claire.evaluate.comparison import corrected
from claire.evaluate.figures import auc_figure, figure, number
from claire.evaluate.inputs import Experiment
from claire.evaluate.measure import Measured, thresholds
from claire.evaluate.samples import Sample, to_patients


@dataclass(frozen=True)
class Validated:
    """A run on its validation patients: AUC (NaN without both classes), mean log loss, operating points.

    `positive_share` is the share of class 1 among these patients.
    """

    auc: float
    log_loss: float
    thresholds: tuple[float, float] | None
    positive_share: float


@dataclass
class Ranking:
    """How every variant ranks patients: what choices and differences are based on.

    `validated[variant][fold]`; `pairs[variant]` counts those of the test patients, `folds[variant]` are the folds of
    its first axis; `selection[variant]` (samples,) is the mean validation AUC in each bootstrap sample,
    `outside[variant]` (samples,) the test AUC of the patients left out of it.
    """

    validated: dict[str, dict[int, Validated]] = field(default_factory=dict)
    pairs: dict[str, Pairs] = field(default_factory=dict)
    folds: dict[str, list[int]] = field(default_factory=dict)
    selection: dict[str, FloatArray] = field(default_factory=dict)
    outside: dict[str, FloatArray] = field(default_factory=dict)

    def test_auc(self, name: str, folds: Sequence[int] | None = None) -> FloatArray:
        """Return the test AUC of a variant over `folds` (default: all it has), (1 + samples,)."""
        concordant, pairs = self.pairs[name]
        rows = [i for i, fold in enumerate(self.folds[name]) if folds is None or fold in folds]
        return combined_auc(concordant[rows], pairs[rows])

    def validation_auc(self, name: str) -> float:
        """Return the mean over folds of the validation AUC; NaN where no fold has one."""
        return _mean_of_finite([validated.auc for validated in self.validated[name].values()])

    def validation_log_loss(self, name: str) -> float:
        """Return the mean over folds of the validation log loss."""
        return _mean_of_finite([validated.log_loss for validated in self.validated[name].values()])

    def order(self, names: Sequence[str]) -> list[str]:
        """Return variants from the best: mean validation AUC, then lower validation log loss, then smaller id."""
        return sorted(names, key=lambda name: _key(self.validation_auc(name), self.validation_log_loss(name), name))

    def best_in(self, fold: int, names: Sequence[str]) -> str | None:
        """Return the variant that is best on the validation patients of one fold; None where none was trained on it."""
        validated = {name: self.validated[name][fold] for name in names if fold in self.validated[name]}
        return min(validated, key=lambda name: _key(validated[name].auc, validated[name].log_loss, name), default=None)


def _mean_of_finite(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _key(area: float, loss: float, name: str) -> tuple[float, float, str]:
    # Rounded, so that a tie is a tie on every machine.
    return (-round(area, 9) if math.isfinite(area) else 1.0, round(loss, 9), name)


def validate(run: Run, experiment: Experiment) -> tuple[Validated, Sample]:
    """Measure a run on its validation patients; return these patients besides."""
    patients = to_patients(experiment, run.scans["validation"])
    loss = float(log_losses(patients.probability, patients.target).mean())
    share = float(np.mean(patients.target == 1))
    return Validated(macro_auc(patients.probability, patients.target), loss, thresholds(patients), share), patients


def rank(experiment: Experiment, weights: FloatArray) -> Ranking:
    """Measure the ranking of every variant on validation and test patients, for the data and every bootstrap sample."""
    ranking = Ranking()
    # Patients left out of a sample: the choice that was made within it is judged on them.
    left_out = (weights == 0).astype(float)
    for name, candidate in progress(experiment.candidates.items(), "variants ranked", len(experiment.candidates)):
        ranking.validated[name], inside, tested, outside = {}, [], [], []
        for fold, run in candidate.runs.items():
            ranking.validated[name][fold], validation = validate(run, experiment)
            inside.append(combined_auc(*stack_pairs([count_pairs(validation, weights)]))[1:])
            test = to_patients(experiment, run.scans["test"])
            tested.append(count_pairs(test, weights))
            outside.append(count_pairs(test, left_out))
        ranking.folds[name], ranking.pairs[name] = list(candidate.runs), stack_pairs(tested)
        ranking.selection[name] = _mean_over_folds(np.array(inside))
        ranking.outside[name] = combined_auc(*stack_pairs(outside))[1:]
    return ranking


def _mean_over_folds(areas: FloatArray) -> FloatArray:
    """Return the mean over the folds that have an AUC, (samples,) from (folds, samples)."""
    finite = np.isfinite(areas)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(finite, areas, 0).sum(axis=0) / finite.sum(axis=0))


def correct_for_choice(ranking: Ranking, eligible: Sequence[str]) -> Figure:
    """Return the winner's AUC corrected for having been chosen among `eligible`, by BBC-CV (Tsamardinos 2018)."""
    order = ranking.order(eligible)
    selection, outside = (np.array([areas[name] for name in order]) for areas in (ranking.selection, ranking.outside))
    value, limits = corrected(selection, outside)
    return figure(value, limits, "bbc-cv")


def nested(experiment: Experiment, ranking: Ranking) -> dict[int, str]:
    """Return, for each fold, the variant that is best on the fold's validation patients."""
    chosen = {fold: ranking.best_in(fold, experiment.eligible) for fold in experiment.folds}
    return {fold: name for fold, name in chosen.items() if name is not None}


def fold_rows(ranking: Ranking, names: Mapping[int, str], measured: Mapping[int, Measured]) -> list[FoldFigures]:
    """Return one row per fold: variant, patients, AUCs, operating points, and a note where a class is missing."""
    return [
        _fold_row(fold, names[fold], ranking.validated[names[fold]][fold], tested) for fold, tested in measured.items()
    ]


def _fold_row(fold: int, name: str, validated: Validated, tested: Measured) -> FoldFigures:
    youden, sensitive = tested.thresholds or (float("nan"), float("nan"))
    counts = np.bincount(tested.sample.target, minlength=tested.sample.probability.shape[1]).tolist()
    return FoldFigures(
        fold=fold,
        variant=name,
        patients=tuple(counts),
        auc=auc_figure([tested]),
        auc_validation=number(validated.auc),
        log_loss_validation=number(validated.log_loss),
        threshold=number(youden),
        threshold_sensitive=number(sensitive),
        note=_note(counts, validated),
    )


def _note(counts: Sequence[int], validated: Validated) -> str:
    notes = []
    if min(counts) == 0:
        notes.append("a class has no test patient: no AUC")
    if not math.isfinite(validated.auc):
        notes.append("a class has no validation patient: the operating point is 0.5")
    return "; ".join(notes)
