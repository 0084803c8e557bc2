"""`predictions.json` and `.csv`: what a model says of new scans, and of their patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.tables import write_csv
from claire.core.contracts.masks import LungFacts

REMEDY = "Run `claire apply` again."
#: The operating point of more than two classes: the likeliest class is decided.
LIKELIEST = "likeliest"
#: In place of a decision where the model has no say.
CANNOT_TELL = "cannot tell"


class NetworkPrediction(Part):
    """What the network of a fold says: `probability` of each class, in full precision and not calibrated."""

    fold: int
    probability: tuple[float, ...]


class Decision(Part):
    """The class decided at an operating point, and how many of the networks decide so by themselves."""

    point: str
    decision: str
    agreeing: int


class Verdict(Part):
    """What the model says of a scan or patient.

    `probability` by class: the mean of the calibrated probabilities of the networks; `low` and `high`: the least and
    the largest of them. `cannot_tell`: why the model has no say, a sentence each; empty where it has.
    """

    probability: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    networks: tuple[NetworkPrediction, ...]
    decisions: tuple[Decision, ...]
    cannot_tell: tuple[str, ...] = ()

    @property
    def decision(self) -> Decision:
        """The decision at the first operating point."""
        return self.decisions[0]


class PredictedScan(Part):
    """A new scan. `out_of_cohort`: what about it the model's cohort has never shown; `slices`: kept ones."""

    scan: str
    patient: str
    shard: str
    line: int
    verdict: Verdict
    out_of_cohort: tuple[str, ...]
    lungs: LungFacts
    slices: int
    phantom: bool


class PredictedPatient(Part):
    """A patient: of several scans the mean of each network's probabilities, as evaluate measures it."""

    patient: str
    scans: tuple[str, ...]
    verdict: Verdict


class PredictionsDocument(Document):
    """The predictions of a model. `model_sha256`: of the file; `set_aside`: series that were not predicted, by reason.

    `cohort_sha256`: of the new scans as `scans.h5` holds them.
    """

    model: str
    model_sha256: str
    classes: tuple[str, ...]
    cohort_sha256: str
    scans: tuple[PredictedScan, ...]
    patients: tuple[PredictedPatient, ...]
    set_aside: dict[str, int]


def write_predictions(path: Path, document: PredictionsDocument) -> Path:
    """Write `predictions.json`."""
    return write_document(path, document)


def read_predictions(path: Path) -> PredictionsDocument:
    """Read `predictions.json`. Raises ClaireError."""
    return read_document(path, PredictionsDocument, REMEDY)


def write_prediction_table(path: Path, document: PredictionsDocument) -> Path:
    """Write `predictions.csv`: a row a scan.

    `decision`: that of the first operating point, or "cannot tell". `probability_<class>` with `low_` and `high_`,
    `decision_<point>` with the networks that `agree`, `cannot_tell`, `out_of_cohort`, volumes of the lungs in ml,
    warnings of their mask.
    """
    return write_csv(path, [*_columns(document)], list(_rows(document)))


def _columns(document: PredictionsDocument) -> Iterator[str]:
    yield from ("scan", "patient", "decision")
    for name in document.classes:
        yield from (f"probability_{name}", f"low_{name}", f"high_{name}")
    for point in _points(document):
        yield from (f"decision_{point}", f"agree_{point}")
    yield from ("networks", "cannot_tell", "out_of_cohort", "right_ml", "left_ml", "lung_warnings", "slices")


def _points(document: PredictionsDocument) -> Sequence[str]:
    return [decision.point for decision in document.scans[0].verdict.decisions] if document.scans else []


def _rows(document: PredictionsDocument) -> Iterator[dict[str, object]]:
    for scan in document.scans:
        verdict = scan.verdict
        row: dict[str, object] = {"scan": scan.scan, "patient": scan.patient, "networks": len(verdict.networks)}
        row["decision"] = CANNOT_TELL if verdict.cannot_tell else verdict.decision.decision
        for kind in ("probability", "low", "high"):
            row |= {f"{kind}_{name}": f"{value:.6f}" for name, value in getattr(verdict, kind).items()}
        for decision in verdict.decisions:
            row |= {f"decision_{decision.point}": decision.decision, f"agree_{decision.point}": decision.agreeing}
        row |= {"cannot_tell": "; ".join(verdict.cannot_tell), "out_of_cohort": "; ".join(scan.out_of_cohort)}
        row |= {"right_ml": scan.lungs.right_ml, "left_ml": scan.lungs.left_ml, "slices": scan.slices}
        yield row | {"lung_warnings": "; ".join(scan.lungs.warnings)}
