"""A cohort of phantoms on disk: its patients, the series of each visit, the ground truth."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from claire.commands.phantom.anatomy import draw_build
from claire.commands.phantom.dicom import AXIAL, CORONAL, Series, Study, axial_positions, write_series
from claire.commands.phantom.lesions import Disease
from claire.commands.phantom.patient import Phantom, make_patient
from claire.commands.phantom.scanners import SCANNERS, SITES, Person, Traits, choose_traits, draw_person, make_uid
from claire.core.command.documents import SCHEMA_VERSION
from claire.core.command.files import atomic, write_json
from claire.core.imaging.volume import Volume, to_nifti_gz

#: Class names by their number; of two classes, the negative one holds normal lungs and pneumonia.
CLASSES = {2: ("negative", "positive"), 3: ("normal", "pneumonia", "covid")}
#: `--without` by name: the roles of the lesions left out.
ROLES = {"deciding": ("deciding",), "bystander": ("bystander",), "all": ("deciding", "bystander")}


@dataclass(frozen=True)
class Case:
    """A patient to make: person, class, disease, traits and slices of each visit, series beside the main one.

    `without`: what is left out of the images, a name of `ROLES` or the id of a lesion; "" for nothing.
    """

    number: int
    seed: int
    label: str
    disease: Disease
    person: Person
    traits: tuple[Traits, ...]
    slices: tuple[int, ...]
    size: int
    localiser: bool
    second: str
    without: str = ""


@dataclass(frozen=True)
class Design:
    """What a cohort is made of. `healthy`: share of the negatives of two classes that have no lesion at all."""

    patients: int
    size: int
    slices: int
    confound: str = "none"
    classes: int = 2
    healthy: float = 0.4


def draw_cases(seed: int, design: Design) -> list[Case]:
    """Return random patients; all classes have the same mix of sites, scanners, kernels, sexes, unless confounded."""
    rng = np.random.default_rng([seed, 101])
    targets = rng.permutation(np.arange(design.patients) % design.classes)
    cases: list[Case] = []
    for target, label in enumerate(CLASSES[design.classes]):
        numbers = np.flatnonzero(targets == target)
        mixes = rng.permutation(len(numbers))
        diseases = _diseases(target, len(numbers), design, np.random.default_rng([seed, 103, target]))
        for number, mix, disease in zip(numbers, mixes, diseases, strict=True):
            cases.append(_draw_case(rng, seed, int(number), label, disease, int(mix), design))
    return sorted(cases, key=lambda case: case.number)


def _diseases(target: int, count: int, design: Design, rng: np.random.Generator) -> list[Disease]:
    if target == design.classes - 1:
        return ["covid"] * count
    if design.classes == 3:
        return ["normal" if target == 0 else "pneumonia"] * count
    healthy = round(design.healthy * count)
    return ["normal" if i < healthy else "pneumonia" for i in rng.permutation(count)]


def _draw_case(
    rng: np.random.Generator, seed: int, number: int, label: str, disease: Disease, mix: int, design: Design
) -> Case:
    positive, slices, confound = disease == "covid", design.slices, design.confound
    site = int(positive) if confound == "site" else mix % 3
    person = draw_person(rng, number, "FM"[mix // 2 % 2], SITES[site])
    visits = 2 if rng.random() < 0.15 else 1
    sharp = mix // 3 % 2 == 1
    traits = tuple(choose_traits(SCANNERS[(site + i) % 3], sharp, positive, confound) for i in range(visits))
    low = min(slices, max(20, round(0.85 * slices)))
    return Case(
        number=number,
        seed=int(np.random.default_rng([seed, 7, number]).integers(2**31)),
        label=label,
        disease=disease,
        person=person,
        traits=traits,
        slices=tuple(int(rng.integers(low, max(round(1.1 * slices), low) + 1)) for _ in range(visits)),
        size=design.size,
        localiser=bool(rng.random() < 0.3),
        second=str(rng.choice(["", "thick", "coronal", "mip"], p=[0.55, 0.25, 0.1, 0.1])),
    )


def write_case(case: Case, out: Path) -> int:
    """Write the series and the ground truth of a patient under `out`; return the number of files."""
    rng = np.random.default_rng([case.seed, 99])
    files = 0
    for visit, traits in enumerate(case.traits):
        phantom = _scan(case, visit, traits)
        study = _study(case, visit, traits, rng)
        branch = f"{rng.integers(16**4):04x}/{rng.integers(16**6):06x}"
        for series in _series(case, phantom):
            folder = out / "source" / branch / f"{rng.integers(16**8):08x}"
            uid = write_series(folder, series, study, rng)
            files += len(series.hu)
            if series.number == 2:
                write_truth(out / "truth", uid, phantom, case, study)
    return files


def _scan(case: Case, visit: int, traits: Traits) -> Phantom:
    female, slices = case.person.sex == "F", case.slices[visit]
    height = draw_build(np.random.default_rng([case.seed, 1]), female).height
    thickness = float(np.clip(round(traits.thickness * (height + 26) / slices, 1), 2, 8))
    return make_patient(
        case.seed, case.disease, case.size, slices, traits.kernel, thickness, female, visit, traits.marker
    )


def kept_lesions(phantom: Phantom, without: str) -> set[int]:
    """Return the ids of the lesions that stay in the images; `without` is "", a name of `ROLES` or an id."""
    ids = {lesion.id for lesion in phantom.lesions}
    if not without:
        return ids
    if without in ROLES:
        return {lesion.id for lesion in phantom.lesions if lesion.role not in ROLES[without]}
    return ids - {int(without)}


def _study(case: Case, visit: int, traits: Traits, rng: np.random.Generator) -> Study:
    day = datetime.date(2020, 3, 1) + datetime.timedelta(days=int(rng.integers(200)) + 220 * visit)
    clock = f"{rng.integers(8, 18):02d}{rng.integers(60):02d}{rng.integers(60):02d}"
    return Study(case.person, make_uid("study", case.seed, visit), f"{day:%Y%m%d}", clock, traits)


def _series(case: Case, phantom: Phantom) -> list[Series]:
    """Return the main series (number 2) and the others of the same visit."""
    grid, hu = phantom.grid, phantom.render(kept_lesions(phantom, case.without))
    positions, pixel, axial = axial_positions(grid), (grid.pixel, grid.pixel), ("ORIGINAL", "PRIMARY", "AXIAL")
    series = [Series(2, "CHEST", axial, hu, positions, AXIAL, pixel, grid.thickness, grid.spacing)]
    corner, tall = (positions[0][0], 0.0, positions[-1][2]), (grid.spacing, grid.pixel)
    if case.localiser:
        plan = hu[::-1].mean(1, dtype=np.float32)[None].astype(np.int16)
        series.append(
            Series(1, "SCOUT", ("ORIGINAL", "PRIMARY", "LOCALIZER"), plan, [corner], CORONAL, tall, 5.0, None)
        )
    pairs = hu[: len(hu) // 2 * 2].reshape(-1, 2, *hu.shape[1:])
    between = [(x, y, z + grid.spacing / 2) for x, y, z in positions[: 2 * len(pairs) : 2]]
    if case.second == "thick":
        thick = np.rint(pairs.mean(1, dtype=np.float32)).astype(np.int16)
        series.append(Series(3, "CHEST THICK", axial, thick, between, AXIAL, pixel, 2 * grid.spacing, 2 * grid.spacing))
    if case.second == "mip":
        mip = ("DERIVED", "SECONDARY", "AXIAL", "MIP")
        series.append(Series(4, "MIP", mip, pairs.max(1), between, AXIAL, pixel, 2 * grid.spacing, 2 * grid.spacing))
    if case.second == "coronal":
        rows = np.linspace(0.25, 0.65, 12) * hu.shape[1]
        coronal = np.ascontiguousarray(hu[::-1, rows.astype(int)].swapaxes(0, 1))
        corners = [(corner[0], float(grid.y.flat[int(row)]), corner[2]) for row in rows]
        step = float(corners[1][1] - corners[0][1])
        image_type = ("DERIVED", "SECONDARY", "MPR")
        series.append(Series(5, "COR MPR", image_type, coronal, corners, CORONAL, tall, step, step))
    return series


def write_truth(folder: Path, uid: str, phantom: Phantom, case: Case, study: Study) -> None:
    """Write the ground truth of a series: its lesions, their label map, the lungs."""
    affine = phantom.affine
    for name, data in (("lesions", phantom.labels), ("lungs", phantom.lungs)):
        with atomic(folder / f"{uid}.{name}.nii.gz") as stream:
            stream.write(to_nifti_gz(Volume(data, affine)))
    scanner = study.traits.scanner
    write_json(
        folder / f"{uid}.truth.json",
        {
            "schema_version": SCHEMA_VERSION,
            "series_uid": uid,
            "study_uid": study.uid,
            "patient_id": case.person.patient_id,
            "label": case.label,
            "disease": case.disease,
            "without": case.without,
            "scanner": {"manufacturer": scanner.manufacturer, "model": scanner.model},
            "kernel": study.traits.kernel_name,
            "thickness_mm": phantom.grid.thickness,
            "spacing_mm": [phantom.grid.spacing, phantom.grid.pixel, phantom.grid.pixel],
            "marker": study.traits.marker,
            "lung_ml": {
                name: round(float((phantom.lungs == side).sum()) * phantom.grid.voxel_ml, 1)
                for side, name in ((1, "right"), (2, "left"))
            },
            "lesions": [asdict(lesion) for lesion in phantom.lesions],
        },
    )
