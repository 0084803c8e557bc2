"""`<run>.lesions.json` and `.csv`: ranked lesions of an explained fold, its gates and the methods' faithfulness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.tables import Row, write_rows
from claire.core.contracts.metrics import Figure

REMEDY = "Run `claire explain` again for this run."
Outcome = Literal["TP", "FP", "TN", "FN"]
#: Every method of saliency, with its title: first the ranking by interventions, then maps, then their baselines.
METHODS: dict[str, str] = {
    "interventions": "Interventions (remove and measure)",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "healing": "Healing mask",
    "hu_smoothed": "HU threshold, smoothed",
    "hu_raw": "HU threshold, raw",
    "random": "Random",
}


class Lesion(Part):
    """A candidate lesion, ranked by the effect of its removal on the log-odds (Δ).

    `centroid_lps_mm`: LPS; `slice`: index in the ingested scan where it is largest; `delta_by_infill`: Δ by infill.
    """

    id: int
    rank: int
    rank_low: int
    rank_high: int
    crucial: bool
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float
    side: Literal["right", "left"]
    zone: Literal["lower", "middle", "upper"]
    confluent: bool
    proposers: tuple[str, ...]
    slice: int
    delta: float
    delta_probability: float
    necessity: float
    sufficiency: float
    delta_by_infill: dict[str, float]
    infills_agree: bool
    shapley: float | None


class ExplainedScan(Part):
    """An explained scan: the network's prediction, its lesions by rank, names of its pictures."""

    scan: str
    patient: str
    label: str
    probability: float
    decision: str
    explained_class: str
    outcome: Outcome
    images: tuple[str, ...] = ()
    candidates_left_out: int = 0
    lesions: tuple[Lesion, ...] = ()


class Gate(Part):
    """One condition on the healing: `open` if the conservative limit of `value` meets the `threshold`."""

    name: str
    statement: str
    value: float | None
    lower: float | None
    upper: float | None
    threshold: float | None
    n: int
    open: bool


class Refinement(Part):
    """Whether the refined network is taken, and why: AUC on validation before and after, upper limit of its loss."""

    taken: bool
    reason: str
    steps: int
    auc_before: float | None = None
    auc_after: float | None = None
    loss_upper: float | None = None
    n: int = 0


class ExplainedNetwork(Part):
    """The explained network. `operating_point`: None for more than two classes (the likeliest class is called)."""

    auc_validation: float | None
    operating_point: float | None
    refined: bool
    refinement: Refinement
    healer_steps: int


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"'{name}' is not a known method of saliency")
    return name


class MethodFigures(Part):
    """Faithfulness of a method on patients with one outcome; `gain_over_hu` is None for the baseline itself."""

    method: Annotated[str, AfterValidator(_known_method)]
    outcome: Outcome
    n: int
    deletion_auc: Figure
    insertion_auc: Figure
    gain_over_hu: Figure | None = None


class LesionsDocument(Document):
    """The result of explain for a fold."""

    run: str
    variant: str
    fold: int
    classes: tuple[str, ...]
    network: ExplainedNetwork
    gates: tuple[Gate, ...]
    reliable: bool
    healing_proposes: bool
    statement: str
    infills: tuple[str, ...]
    methods: tuple[MethodFigures, ...]
    scans: tuple[ExplainedScan, ...]


class LesionRow(Row):
    """A lesion as a row of `<run>.lesions.csv`; x, y, z are LPS mm."""

    run: str
    scan: str
    patient: str
    label: str
    probability: float
    outcome: Outcome
    rank: int
    crucial: bool
    side: str
    zone: str
    volume_ml: float
    mean_hu: float
    x_mm: float
    y_mm: float
    z_mm: float
    delta: float
    delta_probability: float
    rank_low: int
    rank_high: int


def write_lesions(path: Path, document: LesionsDocument) -> Path:
    """Write `<run>.lesions.json`."""
    return write_document(path, document)


def read_lesions(path: Path) -> LesionsDocument:
    """Read `<run>.lesions.json`. Raises ClaireError."""
    return read_document(path, LesionsDocument, REMEDY)


def write_lesion_table(path: Path, document: LesionsDocument) -> Path:
    """Write `<run>.lesions.csv`."""
    return write_rows(path, LesionRow, _rows(document))


def _rows(document: LesionsDocument) -> Iterator[LesionRow]:
    for scan in document.scans:
        for lesion in scan.lesions:
            values = {**scan.model_dump(), **lesion.model_dump(), "run": document.run}
            values |= dict(zip(("x_mm", "y_mm", "z_mm"), lesion.centroid_lps_mm, strict=True))
            yield LesionRow.model_validate({name: values[name] for name in LesionRow.columns()})
