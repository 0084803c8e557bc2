"""`<run>.lesions.json` and `.csv`: ranked lesions of an explained fold, its gates and the methods' faithfulness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from claire.core.command.documents import Document, Part, read_document, write_document
from claire.core.command.tables import Row, write_rows
from claire.core.contracts.gates import Evidence, Gate
from claire.core.contracts.metrics import Figure

REMEDY = "Run `claire explain` again for this run."
#: By label and call; P and N are the calls of scans without a label.
Outcome = Literal["TP", "FP", "TN", "FN", "P", "N"]
CALLED: tuple[Outcome, ...] = ("TP", "FP", "P")
Side = Literal["right", "left"]
Zone = Literal["lower", "middle", "upper"]
#: What insertions are grouped by.
Axis = Literal["all", "zone", "depth", "size"]
#: Every method of saliency, with its title: first the ranking by interventions, then maps, then their baselines.
METHODS: dict[str, str] = {
    "interventions": "Interventions (remove and measure)",
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "integrated_gradients": "Integrated gradients",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "guided_grad_cam": "Guided Grad-CAM, SmoothGrad squared (the original)",
    "occlusion": "Occlusion",
    "healing": "Healing mask",
    "hu_smoothed": "HU threshold, smoothed",
    "hu_raw": "HU threshold, raw",
    "edges": "Edges",
    "random": "Random",
}


class LesionPart(Part):
    """A part of a lesion within one zone, for description only: whole lesions are removed and ranked."""

    zone: Zone
    volume_ml: float
    mean_hu: float
    centroid_lps_mm: tuple[float, float, float]


class Lesion(Part):
    """A whole lesion, ranked by the effect of its removal on the log-odds (Δ).

    `kind`: an opacity by HU is a lesion, anything else (proposed by a map) a region. `rank` and its interval are None
    where Δ is below `noise`, twice its standard error over infills. `centroid_lps_mm`: LPS; `slice`: index in
    the ingested scan where it is largest; `delta_by_infill`: Δ by infill; `parts`: its parts by zone, if more than one.
    """

    id: int
    kind: Literal["lesion", "region"]
    rank: int | None
    rank_low: int | None
    rank_high: int | None
    crucial: bool
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float
    side: Side
    zone: Zone
    parts: tuple[LesionPart, ...] = ()
    proposers: tuple[str, ...]
    slice: int
    delta: float
    delta_per_ml: float
    delta_probability: float
    noise: float
    necessity: float
    sufficiency: float
    delta_by_infill: dict[str, float]
    infills_agree: bool
    shapley: float | None


class Interaction(Part):
    """Shapley interaction of two lesions, by id, in log-odds: above 0 they act together, below 0 one is enough."""

    first: int
    second: int
    value: float


class Background(Part):
    """What the network says of a scan without any of its opacities and regions.

    `share`: of the rise of the log-odds above those of a mean healed scan of the fold, what stays without lesions; None
    where the scan does not rise.
    """

    log_odds: float
    probability: float
    decision: str
    share: float | None


class ExplainedScan(Part):
    """An explained scan: the network's prediction, its lesions by Δ, names of its pictures.

    `sentence`: the result in plain words; `probability_without`: the probability without the crucial lesions; None
    where there are none. `background`: None where no lesion was found.
    """

    scan: str
    patient: str
    label: str
    probability: float
    decision: str
    explained_class: str
    outcome: Outcome
    sentence: str = ""
    images: tuple[str, ...] = ()
    candidates_left_out: int = 0
    lesions: tuple[Lesion, ...] = ()
    probability_without: float | None = None
    background: Background | None = None
    interactions: tuple[Interaction, ...] = ()


class Refinement(Part):
    """Whether a refined network is taken, and why: AUC on validation before and after, upper limit of its loss.

    `kind`: none, healed, rounds or attacked.
    """

    taken: bool
    reason: str
    steps: int
    kind: str = "none"
    auc_before: float | None = None
    auc_after: float | None = None
    loss_upper: float | None = None
    n: int = 0


class ExplainedNetwork(Part):
    """The explained network. `operating_point`: None for more than two classes (the likeliest class is called).

    `healed_log_odds`: median log-odds against the reference of the fold's validation scans without their opacities.
    """

    auc_validation: float | None
    operating_point: float | None
    refined: bool
    refinement: Refinement
    healer_steps: int
    healed_log_odds: float | None = None


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


class InsertionCell(Part):
    """Insertions of one kind: `axis` zone, depth or size, and its `level`; `turned`: share of calls that turn."""

    axis: Axis
    level: str
    n: int
    turned: Figure
    rise: float


class InsertionAudit(Part):
    """Lesions set into lungs called negative. `turning_ml`: smallest volume at which half of the calls turn."""

    places: int
    cells: tuple[InsertionCell, ...]
    turning_ml: float | None


class LesionsDocument(Document):
    """The result of explain for a fold. `gates` are of this fold alone; `evidence` lets folds be pooled."""

    run: str
    variant: str
    fold: int
    classes: tuple[str, ...]
    network: ExplainedNetwork
    evidence: Evidence
    gates: tuple[Gate, ...]
    reliable: bool
    statement: str
    infills: tuple[str, ...]
    methods: tuple[MethodFigures, ...]
    insertion: InsertionAudit | None = None
    scans: tuple[ExplainedScan, ...]


class FoundScan(Part):
    """A new scan, explained by the network of `fold`; `ranked`: whether the model has a say in it."""

    fold: int
    ranked: bool
    explained: ExplainedScan


class FoundLesions(Document):
    """`scans.lesions.json`: the lesions of new scans. `gates`: of the model, whether its lesions can be believed."""

    model: str
    model_sha256: str
    cohort_sha256: str
    classes: tuple[str, ...]
    gates: tuple[Gate, ...]
    reliable: bool
    infills: tuple[str, ...]
    scans: tuple[FoundScan, ...]


class LesionRow(Row):
    """A lesion as a row of `<run>.lesions.csv`; x, y, z are LPS mm."""

    run: str
    scan: str
    patient: str
    label: str
    probability: float
    outcome: Outcome
    kind: str
    rank: int | None
    crucial: bool
    side: str
    zone: str
    volume_ml: float
    mean_hu: float
    x_mm: float
    y_mm: float
    z_mm: float
    delta: float
    delta_per_ml: float
    delta_probability: float
    noise: float
    rank_low: int | None
    rank_high: int | None


def write_lesions(path: Path, document: LesionsDocument) -> Path:
    """Write `<run>.lesions.json`."""
    return write_document(path, document)


def read_lesions(path: Path) -> LesionsDocument:
    """Read `<run>.lesions.json`. Raises ClaireError."""
    return read_document(path, LesionsDocument, REMEDY)


def write_found_lesions(path: Path, document: FoundLesions) -> Path:
    """Write `scans.lesions.json`."""
    return write_document(path, document)


def read_found_lesions(path: Path) -> FoundLesions:
    """Read `scans.lesions.json`. Raises ClaireError."""
    return read_document(path, FoundLesions, "Run `claire explain --model` again.")


def write_lesion_table(path: Path, document: LesionsDocument | FoundLesions) -> Path:
    """Write `<run>.lesions.csv`, or `scans.lesions.csv` of new scans."""
    return write_rows(path, LesionRow, _rows(document))


def _rows(document: LesionsDocument | FoundLesions) -> Iterator[LesionRow]:
    if isinstance(document, LesionsDocument):
        scans = [(document.run, scan) for scan in document.scans]
    else:
        scans = [(f"{document.model}-f{scan.fold}", scan.explained) for scan in document.scans]
    for run, scan in scans:
        for lesion in scan.lesions:
            values = {**scan.model_dump(), **lesion.model_dump(), "run": run}
            values |= dict(zip(("x_mm", "y_mm", "z_mm"), lesion.centroid_lps_mm, strict=True))
            yield LesionRow.model_validate({name: values[name] for name in LesionRow.columns()})
