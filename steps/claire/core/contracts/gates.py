"""Gates: whether the question which lesions decided has an answer for a network. They fail closed.

Each fold's evidence comes from validation patients under that fold's network; the folds of a variant are pooled, since
each patient validates one fold. A gate is judged by the conservative end of an exact 95 % interval (Clopper and Pearson
1934), so that the number of patients it needs is known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import Field

from claire.core.command.documents import Part, finite
from claire.core.statistics.intervals import clopper_pearson, newcombe


@dataclass(frozen=True)
class Rule:
    """What a gate requires of a share of patients: the lower limit `at_least`, or the upper limit at most, `threshold`.

    `subjects`: whose share it is.
    """

    statement: str
    threshold: float
    at_least: bool
    subjects: Literal["called positive", "called negative"]


#: The gates that are shares of patients, in the order in which they are shown.
SHARES: dict[str, Rule] = {
    "empty_lung": Rule(
        "without all opacities at least 90 % of the called scans are called the reference", 0.90, True,
        "called positive",
    ),
    "healed_odds": Rule(
        "without all opacities at least half of the called scans score below the 90th percentile of true negatives",
        0.50, True, "called positive",
    ),
    "control_random": Rule(
        "filling an equal volume of random lung turns at most 10 % of the calls", 0.10, False, "called positive"
    ),
    "control_dense": Rule(
        "filling an equal volume of the next-densest lung turns at most 10 % of the calls", 0.10, False,
        "called positive",
    ),
    "flips_judge": Rule(
        "of calls that another architecture shares, filling all opacities turns at least 80 % for it too", 0.80, True,
        "called positive",
    ),
    "negatives_stay": Rule(
        "removing their opacities turns at most 10 % of the scans called negative", 0.10, False, "called negative"
    ),
    "insertion": Rule(
        "the opacities of a called scan, set into a scan called negative, turn at least half of the calls", 0.50, True,
        "called negative",
    ),
}  # fmt: skip


class Evidence(Part):
    """What a fold contributes to the gates.

    `auc`, `positives`, `negatives`: of the network on its validation patients; `shares`: by gate of `SHARES` one value
    per patient, the share of the patient's scans; `reasons`: why a gate was not measured; `guards_fired`: the guards of
    evaluate that fired, None if its winner.json was not given.
    """

    auc: float | None
    positives: int
    negatives: int
    shares: dict[str, tuple[float, ...]]
    reasons: dict[str, str] = Field(default_factory=dict)
    guards_fired: tuple[str, ...] | None = None


class Gate(Part):
    """One condition: `open` if the conservative limit of `value` meets the `threshold`. `needed`: fewest patients."""

    name: str
    statement: str
    value: float | None
    lower: float | None
    upper: float | None
    threshold: float | None
    n: int
    needed: int
    open: bool


def gates(evidence: Sequence[Evidence]) -> tuple[Gate, ...]:
    """Return every gate, judged on the pooled evidence of one or more folds of one variant."""
    return (_chance(evidence), *(_share(name, rule, evidence) for name, rule in SHARES.items()), _guards(evidence))


@cache
def needed(rule: Rule) -> int:
    """Return the fewest patients with which a gate can open: all of them (or none) as it requires."""
    n = 1
    while not _meets(rule, *clopper_pearson(n if rule.at_least else 0, n)):
        n += 1
    return n


def reliable(judged: Sequence[Gate]) -> bool:
    """Return whether every gate is open."""
    return bool(judged) and all(gate.open for gate in judged)


def is_better(evidence: Evidence) -> bool:
    """Return whether one fold alone shows that its network is better than chance."""
    return _chance([evidence]).open


def _meets(rule: Rule, lower: float, upper: float) -> bool:
    return lower >= rule.threshold if rule.at_least else upper <= rule.threshold


def _share(name: str, rule: Rule, evidence: Sequence[Evidence]) -> Gate:
    """Patients with several scans count with their share, rounded against the gate."""
    values = [value for fold in evidence for value in fold.shares.get(name, ())]
    n, total, fewest = len(values), sum(values), needed(rule)
    hits = int(total + 1e-9) if rule.at_least else -int(-total // 1)
    lower, upper = clopper_pearson(hits, n)
    reasons = sorted({fold.reasons[name] for fold in evidence if name in fold.reasons})
    if n == 0:
        fault = "; ".join(reasons) or f"n=0, {fewest} patients {rule.subjects} are needed"
    elif n < fewest:
        fault = f"n={n}, {fewest} patients {rule.subjects} are needed"
    elif not _meets(rule, lower, upper):
        fault = f"the {'lower' if rule.at_least else 'upper'} 95 % limit misses it"
    else:
        fault = ""
    return Gate(
        name=name,
        statement=_stated(rule.statement, fault),
        value=finite(total / n) if n else None,
        lower=finite(lower),
        upper=finite(upper),
        threshold=rule.threshold,
        n=n,
        needed=fewest,
        open=not fault,
    )


def _chance(evidence: Sequence[Evidence]) -> Gate:
    """The pooled AUC is the mean over folds, weighted by pairs: scores of different folds are never ranked."""
    folds = [fold for fold in evidence if fold.auc is not None and fold.positives and fold.negatives]
    pairs = [fold.positives * fold.negatives for fold in folds]
    area = sum(w * (fold.auc or 0.0) for w, fold in zip(pairs, folds, strict=True)) / sum(pairs) if pairs else None
    lower, upper = newcombe(
        float("nan") if area is None else area, [(fold.positives, fold.negatives) for fold in folds]
    )
    fault = "" if lower > 0.5 else "the lower 95 % limit is not above 0.5" if pairs else "a class is missing"
    return Gate(
        name="better_than_chance",
        statement=_stated("the AUC of the network on validation patients is above 0.5", fault),
        value=None if area is None else finite(area),
        lower=finite(lower),
        upper=finite(upper),
        threshold=0.5,
        n=sum(fold.positives + fold.negatives for fold in evidence),
        needed=6,
        open=not fault,
    )


def _guards(evidence: Sequence[Evidence]) -> Gate:
    given = [fold.guards_fired for fold in evidence if fold.guards_fired is not None]
    fired = sorted({name for names in given for name in names})
    fault = f"fired: {', '.join(fired)}" if fired else "" if len(given) == len(evidence) and given else (
        "no winner.json of evaluate was given (--winner)"
    )  # fmt: skip
    return Gate(
        name="shortcut_guards",
        statement=_stated("the guards of evaluate are silent", fault),
        value=float(len(fired)) if given else None,
        lower=None,
        upper=None,
        threshold=0.0,
        n=len(given),
        needed=1,
        open=not fault,
    )


def _stated(statement: str, fault: str) -> str:
    return f"{statement}; closed: {fault}" if fault else statement
