"""`<variant-id>.model.zip`: the winner as it was measured, for the diagnosis of new scans.

`model.json` says everything of the networks; their weights lie beside it as safetensors, with a model card and exports
for other programs. Every member but `model.json` stands in it with its SHA-256. Reading runs no code of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from claire.core.command.documents import Document, Part, parse_document
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import ArchiveReader, write_archive
from claire.core.contracts.fingerprint import Fingerprint
from claire.core.contracts.gates import Gate
from claire.core.contracts.metrics import Calibration, Figure, Figures
from claire.core.contracts.variant import Variant

REMEDY = "Get the file again from where it was made, or run `claire bundle` again."
DOCUMENT, CARD = "model.json", "model-card.md"


class OperatingPoints(Part):
    """Thresholds of a patient's probability, the mean of the patient's scans: positive from there on.

    `youden`: the best sum of sensitivity and specificity; `sensitive`: detects 90 % of the positives; both of the
    validation patients.
    """

    youden: float
    sensitive: float


class FoldModel(Part):
    """The network of one fold. `weights`: its member in the archive, `sha256` that of the member.

    `operating_points`: None for more than two classes (the likeliest is decided). A calibrated probability of two
    classes takes two steps: `shift_prior` from `training_share` to `validation_share`, then `temperature`; of more
    classes the second alone. `temperature`: fitted on the validation patients by the log loss, None where they do not
    identify it. `training_share`: share of positives that the network learned as its prior; None for more classes.
    `healed_log_odds`: median log-odds against the reference of validation scans without their opacities, None if
    explain did not measure it for this very network. `network_source`: SHA-256 of the module of a network of your own.
    """

    fold: int
    run: str
    weights: str
    sha256: str
    operating_points: OperatingPoints | None
    temperature: float | None
    training_share: float | None
    validation_share: float | None
    validation_patients: dict[str, int]
    healed_log_odds: float | None = None
    network_source: str | None = None


class IndexPreparation(Part):
    """How a series is chosen: the flags of `claire index`."""

    max_thickness: float
    kernels: str
    min_slices: int


class IngestPreparation(Part):
    """How a series becomes a scan: the flags of `claire ingest`."""

    gantry_tilt: Literal["reject", "resample"]
    min_slices: int


class FilterPreparation(Part):
    """Which slices are kept: the flags of `claire preprocess`."""

    min_lung_box: float
    min_lung_ratio: float
    min_lung_slices: int


class Preparation(Part):
    """What prepares a new scan as those of the cohort were. `size`: rows and columns of a prepared slice.

    `index`, `ingest` and `preprocess` are None where their records were not given. Lungs are masked without parameters.
    """

    size: int
    index: IndexPreparation | None = None
    ingest: IngestPreparation | None = None
    preprocess: FilterPreparation | None = None

    def flags(self) -> dict[str, dict[str, Any]]:
        """Return the flags of index, ingest and preprocess by step."""
        parts = {"index": self.index, "ingest": self.ingest, "preprocess": self.preprocess}
        given = {step: part.model_dump(mode="json") if part else {} for step, part in parts.items()}
        return given | {"preprocess": {"size": self.size, **given["preprocess"]}}

    def job(self) -> dict[str, Any]:
        """Return the inputs of cwl/predict.cwl: options by step; `min_slices` of index and ingest is one input."""
        flags = self.flags()
        fewest = flags["index"].pop("min_slices", None)
        flags["ingest"].pop("min_slices", None)
        options = {f"{step}_options": values for step, values in flags.items()}
        return options if fewest is None else {"min_slices": fewest, **options}


class GuardState(Part):
    """A guard of evaluate: what should hold, and whether it fired; on what stays at the data site."""

    name: str
    statement: str
    fired: bool


class ModelFigures(Part):
    """What was measured of the model, by patient, out of metrics.json: figures with 95 % intervals.

    `winner`: of this variant, selected, so they flatter; `auc_corrected` corrects that in part; `headline`: of the
    nested procedure that chose it. `at_sensitivity_90`: of the winner at the operating points `sensitive`.
    """

    patients: dict[str, int]
    scans: dict[str, int]
    confidence: float
    bootstrap: int
    prevalence: float
    prevalence_from: Literal["stated", "cohort"]
    headline: Figures
    winner: Figures
    auc_corrected: Figure
    at_sensitivity_90: Figures | None
    calibration: Calibration
    better_than_chance: bool
    complete: bool
    guards: tuple[GuardState, ...]


class ModelCard(Part):
    """What people must know before they use the model (Mitchell 2019, arXiv:1810.03993)."""

    title: str
    intended_use: str
    warning: str
    licence: str
    data: str
    data_licence: str
    limits: tuple[str, ...]
    citation: str


class OnnxExport(Part):
    """The export of a fold's network. `member`: None where there is none, for the `reason`.

    `difference`: largest difference to the network's probabilities on `checked` views, at most `tolerance`.
    """

    run: str
    member: str | None
    reason: str = ""
    opset: int | None = None
    checked: int = 0
    difference: float | None = None
    tolerance: float


class Exports(Part):
    """Members for other programs: of a MONAI bundle, of ONNX, of a container."""

    monai: tuple[str, ...] = ()
    onnx: tuple[OnnxExport, ...] = ()
    container: tuple[str, ...] = ()


class ModelDocument(Document):
    """`model.json`. `software`: versions by library; `seeds`: of folds, training and bootstrap.

    `gates`: of all explained folds, whether the lesions of its scans can be believed; none where none was explained.
    `members`: SHA-256 of every member of the archive besides this one.
    """

    variant_id: str
    variant: Variant
    classes: tuple[str, ...] = Field(min_length=2)
    positive_class: str | None
    cohort_sha256: str
    software: dict[str, str]
    seeds: dict[str, int]
    folds: tuple[FoldModel, ...] = Field(min_length=1)
    preparation: Preparation
    fingerprint: Fingerprint
    figures: ModelFigures
    gates: tuple[Gate, ...] = ()
    card: ModelCard
    exports: Exports
    members: dict[str, str]

    @model_validator(mode="after")
    def _fits_together(self) -> ModelDocument:
        if self.variant_id != self.variant.id:
            raise ValueError(f"its variant has the id {self.variant.id}, not {self.variant_id}")
        if len({fold.fold for fold in self.folds}) < len(self.folds):
            raise ValueError("two networks of one fold")
        if any(self.members.get(fold.weights) != fold.sha256 for fold in self.folds):
            raise ValueError("weights of a fold are not among the members")
        return self


@dataclass(frozen=True)
class Model:
    """A model file: its path and what `model.json` says."""

    path: Path
    document: ModelDocument

    def read(self, name: str) -> bytes:
        """Return a member. Raises ClaireError if it is damaged."""
        with ArchiveReader(self.path, REMEDY) as archive:
            return self._verified(archive, name)

    def weights(self, fold: FoldModel) -> bytes:
        """Return the safetensors of a fold's network; `core.networks.build.parse_network` builds it."""
        return self.read(fold.weights)

    def verify(self) -> None:
        """Raise ClaireError unless the members are those of `model.json`, each as it was written."""
        with ArchiveReader(self.path, REMEDY) as archive:
            archive.require_plain()
            differing = set(archive.names()) ^ {DOCUMENT, *self.document.members}
            if differing:
                raise ClaireError(f"{self.path.name} has other members than {DOCUMENT} says: {min(differing)}", REMEDY)
            for name in self.document.members:
                self._verified(archive, name)

    def _verified(self, archive: ArchiveReader, name: str) -> bytes:
        content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != self.document.members.get(name):
            raise ClaireError(f"{self.path.name} is damaged: checksum mismatch of {name}", REMEDY)
        return content


def hash_members(members: Mapping[str, bytes | Path]) -> dict[str, str]:
    """Return the SHA-256 of members, given by their content or a file that holds it, sorted by name."""
    return {name: hashlib.sha256(_content(members[name])).hexdigest() for name in sorted(members)}


def write_model(path: Path, document: ModelDocument, members: Mapping[str, bytes | Path]) -> Path:
    """Write `<variant-id>.model.zip`, with the same bytes for the same content; one member is in memory at a time.

    `members` by name, as content or as a file that holds it. Raises ValueError if they are not those of the document.
    """
    if hash_members(members) != document.members:
        raise ValueError(f"{path.name} would hold other members than {DOCUMENT} says")
    with write_archive(path) as archive:
        archive.add(DOCUMENT, document.to_json())
        for name in sorted(members):
            archive.add(name, _content(members[name]))
    return path


def _content(member: bytes | Path) -> bytes:
    return member.read_bytes() if isinstance(member, Path) else member


def read_model(path: Path) -> Model:
    """Open a model file and check every member. Raises ClaireError on damage, or on another schema version."""
    with ArchiveReader(path, REMEDY) as archive:
        document = parse_document(archive.read(DOCUMENT), ModelDocument, f"{path.name}: {DOCUMENT}", REMEDY)
    model = Model(path, document)
    model.verify()
    return model
