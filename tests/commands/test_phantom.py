"""The phantom cohort: its files, its ground truth, how hard it is, and what each confound ties to the label."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from claire.commands.phantom.cohort import Case, Design, draw_cases
from claire.commands.phantom.lesions import DECIDING, Disease, draw_plans
from claire.commands.phantom.patient import MEDIUM, SHARP, SMOOTH, Phantom, make_patient
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import nn

from tests.support.command import claire

SMALL = ["--patients", "6", "--size", "48", "--slices", "20"]
#: Phantoms that the reference network is trained and tested on, half by half.
SAMPLES = 160


def make(out: Path, *flags: str) -> Path:
    """Write a cohort of six small patients."""
    assert claire("phantom", ["--out", str(out), *SMALL, *flags]) == 0
    return out


def read_series(source: Path) -> dict[str, list[pydicom.Dataset]]:
    """Return the images of every series, sorted by file name."""
    series = defaultdict(list)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        image = pydicom.dcmread(path)
        series[image.SeriesInstanceUID].append(image)
    return series


def digest(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of six small patients on disk."""
    return make(tmp_path_factory.mktemp("phantom") / "cohort")


@pytest.fixture(scope="module")
def series(cohort: Path) -> dict[str, list[pydicom.Dataset]]:
    """Its series."""
    return read_series(cohort / "source")


@pytest.fixture(scope="module")
def truths(cohort: Path) -> dict[str, dict]:
    """Its truth by series."""
    return {path.name.split(".truth")[0]: json.loads(path.read_text()) for path in (cohort / "truth").glob("*.json")}


@pytest.fixture(scope="module")
def ill() -> Phantom:
    """A positive patient."""
    return make_patient(3, "covid", 64, 16)


def test_same_seed_gives_same_bytes_in_one_or_two_processes(cohort: Path, tmp_path: Path) -> None:
    assert digest(cohort) == digest(make(tmp_path / "again", "--threads", "2"))


def test_another_seed_gives_other_patients() -> None:
    ids = [{case.person.patient_id for case in draw_cases(seed, Design(6, 48, 20))} for seed in (0, 1)]
    assert not ids[0] & ids[1]
    assert (make_patient(0, "covid", 48, 12).render() != make_patient(1, "covid", 48, 12).render()).mean() > 0.5


def test_every_patient_has_a_label_and_a_series(cohort: Path, series: dict[str, list[pydicom.Dataset]]) -> None:
    with (cohort / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["patient_id"] for row in rows} == {images[0].PatientID for images in series.values()}
    assert sorted(row["label"] for row in rows) == ["negative"] * 3 + ["positive"] * 3


def test_key_is_private_and_32_bytes(cohort: Path) -> None:
    key = cohort / "key"
    assert len(bytes.fromhex(key.read_text())) == 32
    assert key.stat().st_mode & 0o777 == 0o600


def test_file_order_is_not_slice_order(series: dict[str, list[pydicom.Dataset]], truths: dict[str, dict]) -> None:
    for uid in truths:
        heights = [float(image.ImagePositionPatient[2]) for image in series[uid]]
        assert heights != sorted(heights)
        assert heights != sorted(heights, reverse=True)


def test_dicom_files_hold_the_rendered_hu(series: dict[str, list[pydicom.Dataset]], truths: dict[str, dict]) -> None:
    cases = {case.person.patient_id: case for case in draw_cases(0, Design(6, 48, 20))}
    for uid, truth in truths.items():
        images = sorted(series[uid], key=lambda image: float(image.ImagePositionPatient[2]))
        case = cases[truth["patient_id"]]
        visit = case.slices.index(len(images))
        kernel, female = case.traits[visit].kernel, case.person.sex == "F"
        rendered = make_patient(
            case.seed, case.disease, 48, len(images), kernel, truth["thickness_mm"], female, visit
        ).render()
        stored = np.stack([image.pixel_array * image.RescaleSlope + image.RescaleIntercept for image in images])
        inside = stored > -1500
        assert np.array_equal(stored[inside], rendered[inside])
        assert inside.mean() > 0.7


def test_geometry_of_the_files_is_that_of_the_truth(
    cohort: Path, series: dict[str, list[pydicom.Dataset]], truths: dict[str, dict]
) -> None:
    for uid in truths:
        lowest = min(series[uid], key=lambda image: float(image.ImagePositionPatient[2]))
        affine = nib.load(cohort / "truth" / f"{uid}.lungs.nii.gz").affine
        assert affine[:3, 3] == pytest.approx(np.multiply(lowest.ImagePositionPatient, [-1, -1, 1]), abs=0.01)
        assert -affine[0, 0] == pytest.approx(float(lowest.PixelSpacing[0]), abs=0.001)


def test_scanners_store_hu_differently(series: dict[str, list[pydicom.Dataset]]) -> None:
    encodings = {
        (float(s[0].RescaleSlope), float(s[0].RescaleIntercept), s[0].PixelRepresentation) for s in series.values()
    }
    assert encodings == {(1, -1024, 0), (1, 0, 1), (0.5, -1024, 0)}


def test_images_say_that_they_are_phantoms(series: dict[str, list[pydicom.Dataset]]) -> None:
    assert all(image.QualityControlImage == "YES" for images in series.values() for image in images)


def test_identities_are_in_the_headers_and_not_in_the_truth(
    cohort: Path, series: dict[str, list[pydicom.Dataset]]
) -> None:
    images = [images[0] for images in series.values()]
    truth = "".join(path.read_text() for path in (cohort / "truth").glob("*.json"))
    for image in images:
        assert image[0x0029, 0x1010].value.startswith(str(image.PatientName).split("^")[0])
        for secret in (str(image.PatientName), image.PatientBirthDate, image.PatientTelephoneNumbers):
            assert secret
            assert secret not in truth


def test_truth_is_beside_the_source(cohort: Path) -> None:
    assert sorted(path.name for path in cohort.iterdir()) == ["key", "labels.csv", "source", "truth"]
    assert not list((cohort / "source").rglob("*.nii.gz"))


def test_only_main_series_have_truth(series: dict[str, list[pydicom.Dataset]], truths: dict[str, dict]) -> None:
    main = {uid for uid, images in series.items() if images[0].SeriesDescription == "CHEST"}
    assert set(truths) == main
    assert len(main) < len(series)


def test_localisers_second_series_and_second_visits_are_made() -> None:
    cases = draw_cases(0, Design(60, 48, 20))
    assert {case.second for case in cases} == {"", "thick", "coronal", "mip"}
    assert 0.05 < np.mean([len(case.traits) == 2 for case in cases]) < 0.3
    assert 0.1 < np.mean([case.localiser for case in cases]) < 0.5


def test_a_second_cohort_in_the_same_folder_is_refused(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claire("phantom", ["--out", str(cohort), *SMALL]) == 2
    assert "cohort in --out already" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--patients", "1"], ["--size", "8"], ["--slices", "2"], ["--seed", "-1"]])
def test_invalid_sizes_are_refused(flags: list[str], tmp_path: Path) -> None:
    assert claire("phantom", ["--out", str(tmp_path), *flags]) == 2


def test_removing_a_lesion_changes_its_support_only(ill: Phantom) -> None:
    everything = ill.render()
    for number, filling in enumerate(ill.fillings, start=1):
        without = ill.render([lesion.id for lesion in ill.lesions if lesion.id != number])
        changed = without != everything
        inside = np.zeros(changed.shape, bool)
        inside[filling.box] = filling.share > 0
        assert changed.any()
        assert not changed[~inside].any()


def test_every_subset_of_lesions_can_be_rendered(ill: Phantom) -> None:
    assert np.array_equal(ill.render(), ill.render([lesion.id for lesion in ill.lesions]))
    assert ill.render([])[ill.labels > 0].mean() < ill.render()[ill.labels > 0].mean() - 100


def test_lesions_are_described_by_their_label_map(ill: Phantom) -> None:
    for lesion in ill.lesions:
        voxels = np.argwhere(ill.labels == lesion.id)
        right, anterior, up = (ill.affine @ [*voxels.mean(0)[::-1], 1])[:3]
        assert lesion.centroid_lps_mm == pytest.approx((-right, -anterior, up), abs=0.01)
        assert (lesion.centroid_lps_mm[0] < 0) == (lesion.side == "right")


def test_the_patients_right_lung_is_one_by_the_affine(ill: Phantom) -> None:
    for side, sign in ((1, 1), (2, -1)):
        voxels = np.argwhere(ill.lungs == side)
        assert sign * (ill.affine @ [*voxels.mean(0)[::-1], 1])[0] > 30


def test_the_whole_chest_is_covered_and_lungs_are_lung(ill: Phantom) -> None:
    assert not ill.lungs[0].any()
    assert not ill.lungs[-1].any()
    assert 2000 < (ill.lungs > 0).sum() * ill.grid.voxel_ml < 8000
    healthy = ill.render([])[ill.lungs > 0]
    assert -890 < np.median(healthy) < -800


def test_positives_are_bilateral_and_about_one_in_twenty_has_no_lesion() -> None:
    drawn = [draw_plans(np.random.default_rng([5, i]), "covid", 4300) for i in range(1500)]
    deciding = [{plan.side for plan in plans if plan.kind in DECIDING} for plans in drawn]
    assert 0.03 < np.mean([not sides for sides in deciding]) < 0.07
    assert np.mean([len(sides) == 2 for sides in deciding]) > 0.85


def test_pneumonia_has_no_deciding_lesion_and_about_as_much_volume() -> None:
    volumes = {}
    for disease in ("pneumonia", "covid"):
        drawn = [draw_plans(np.random.default_rng([6, len(disease), i]), disease, 4300) for i in range(600)]
        volumes[disease] = np.mean([sum(plan.volume_ml for plan in plans) for plans in drawn])
        assert disease == "covid" or not any(plan.kind in DECIDING for plans in drawn for plan in plans)
    assert volumes["covid"] == pytest.approx(volumes["pneumonia"], rel=0.2)


@pytest.mark.parametrize(("healthy", "expected"), [(0.0, 0), (0.4, 12), (1.0, 30)])
def test_a_share_of_the_negatives_is_healthy(healthy: float, expected: int) -> None:
    cases = draw_cases(3, Design(60, 48, 20, healthy=healthy))
    assert sum(case.disease == "normal" for case in cases) == expected
    assert all(case.label == "negative" for case in cases if case.disease != "covid")
    assert not draw_plans(np.random.default_rng(0), "normal", 4300)


def test_three_classes_are_three_diseases() -> None:
    cases = draw_cases(3, Design(60, 48, 20, classes=3))
    assert [sum(case.disease == name for case in cases) for name in ("normal", "pneumonia", "covid")] == [20, 20, 20]
    assert all(case.label == case.disease for case in cases)


@pytest.mark.parametrize("without", ["deciding", "bystander", "all"])
def test_without_renders_the_exact_counterfactual(cohort: Path, tmp_path: Path, without: str) -> None:
    altered = read_series(make(tmp_path / "altered", "--without", without) / "source")
    changed = 0
    for uid, images in read_series(cohort / "source").items():
        truth = cohort / "truth" / f"{uid}.lesions.nii.gz"
        if not truth.exists():
            continue
        before, after = (
            np.stack([image.pixel_array for image in sorted(s, key=lambda i: float(i.ImagePositionPatient[2]))])
            for s in (images, altered[uid])
        )
        lesions = json.loads((cohort / "truth" / f"{uid}.truth.json").read_text())["lesions"]
        labels = np.asarray(nib.load(truth).dataobj).T
        removed = [item["id"] for item in lesions if without == "all" or item["role"] == without]
        kept = [item["id"] for item in lesions if item["id"] not in removed]
        assert not (before != after)[np.isin(labels, kept) & ~touching(labels, removed)].any()
        changed += int((before != after)[np.isin(labels, removed)].sum())
    assert changed > 100


def touching(labels: np.ndarray, ids: list[int]) -> np.ndarray:
    """Return where lesions may overlap: within two voxels of those of `ids`."""
    return ndimage.binary_dilation(np.isin(labels, ids), iterations=2)


def test_one_lesion_of_one_patient_is_left_out(cohort: Path, tmp_path: Path) -> None:
    truths = [json.loads(path.read_text()) for path in (cohort / "truth").glob("*.json")]
    truth = next(truth for truth in truths if truth["lesions"])
    made = make(tmp_path / "one", "--without", "1", "--patient", truth["patient_id"])
    assert {json.loads(path.read_text())["without"] for path in (made / "truth").glob("*.json")} == {"1"}
    assert {image.PatientID for s in read_series(made / "source").values() for image in s} == {truth["patient_id"]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--without", "ring"], "neither a role nor the id"),
        (["--without", "1"], "needs --patient"),
        (["--patient", "MRN-1"], "is not in this cohort"),
        (["--classes", "4"], "--classes"),
    ],
)
def test_wrong_counterfactuals_are_refused(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claire("phantom", ["--out", str(tmp_path / "refused"), *SMALL, *flags]) == 2
    assert message in capsys.readouterr().err


def association(cases: list[Case], confound: str) -> float:
    """Return how far a trait follows the label: 0 not at all, 1 always (Cramér's V of a two-way table)."""
    trait = {
        "kernel": lambda case: case.traits[0].kernel.name,
        "site": lambda case: case.person.site,
        "thickness": lambda case: case.traits[0].thickness,
        "marker": lambda case: case.traits[0].marker,
    }[confound]
    values, label = (
        np.array([str(trait(case)) for case in cases]),
        np.array([case.label == "positive" for case in cases]),
    )
    table = np.array([[np.sum((values == v) & (label == p)) for p in (False, True)] for v in sorted(set(values))])
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum()))


@pytest.mark.parametrize("confound", ["kernel", "site", "thickness", "marker"])
def test_a_confound_is_tied_to_the_label_only_on_request(confound: str) -> None:
    assert association(draw_cases(1, Design(60, 48, 20, confound)), confound) == pytest.approx(1)
    others = {"kernel", "site", "thickness", "marker"} - {confound}
    assert all(
        association(draw_cases(1, Design(60, 48, 20, other)), confound) < 0.15 for other in {"none", *others} - {"site"}
    )


def test_the_confounds_are_visible() -> None:
    plain, marked = (make_patient(4, "covid", 64, 16, marker=marker).render() for marker in (False, True))
    assert marked.max() > plain.max() + 500
    noise = {kernel.name: make_patient(4, "covid", 64, 16, kernel).noise.std() for kernel in (SMOOTH, MEDIUM, SHARP)}
    assert noise["smooth"] < noise["medium"] < noise["sharp"]


def image_and_features(seed: int) -> tuple[np.ndarray, list[float]]:
    """Return the reference network's input of a phantom (lungs alone, 16×80×80, 0…1) and single features of it."""
    negative: Disease = "normal" if seed // 2 % 5 < 2 else "pneumonia"
    phantom = make_patient(seed, "covid" if seed % 2 else negative, 96, 16, (SMOOTH, MEDIUM, SHARP)[seed // 2 % 3])
    hu, inside = phantom.render(), phantom.lungs > 0
    image = np.clip((np.where(inside, hu, -1000) + 1250) / 1500, 0, 1)[:, 8:88, 8:88]
    lung = hu[inside]
    shares = [np.mean((lung > low) & (lung < high)) for low, high in ((-800, -300), (-700, -300), (-300, 100))]
    return image.astype(np.float32), [lung.mean(), np.median(lung), *shares, inside.sum() * phantom.grid.voxel_ml]


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, features and classes of phantoms of seeds that nothing was tuned on."""
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(image_and_features, range(88_000, 88_000 + SAMPLES), chunksize=10))
    return np.stack([image for image, _ in pairs]), np.array([row for _, row in pairs]), np.arange(SAMPLES) % 2


def test_no_single_feature_separates_the_classes(samples: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, features, classes = samples
    areas = [roc_auc_score(classes, values) for values in features.T]
    assert max(max(area, 1 - area) for area in areas) <= 0.70


def test_slice_counts_do_not_separate_the_classes() -> None:
    cases = draw_cases(2, Design(200, 256, 48))
    area = roc_auc_score([case.label == "positive" for case in cases], [case.slices[0] for case in cases])
    assert 0.4 < area < 0.6


def reference_scores(images: np.ndarray, classes: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Train the reference network and score `test`: three convolutions, mean over pixels and slices, 6 epochs by 2.

    The same for every cohort, so that its AUC is a measure of how hard a cohort is.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = torch.tensor(images)[:, :, None] - 0.3, torch.tensor(classes).float()
    layers: list[nn.Module] = []
    for inputs, outputs, width in ((1, 16, 5), (16, 32, 3), (32, 32, 3)):
        layers += [nn.Conv2d(inputs, outputs, width, 2, width // 2), nn.BatchNorm2d(outputs), nn.ReLU()]
    body, head = nn.Sequential(*layers), nn.Linear(32, 1)
    network = lambda scans: head(body(scans.flatten(0, 1)).mean((2, 3)).unflatten(0, scans.shape[:2]).mean(1))[:, 0]  # noqa: E731
    parameters, steps = [*body.parameters(), *head.parameters()], 6 * (len(train) // 2)
    optimiser = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(6):
        for pair in torch.as_tensor(train)[torch.randperm(len(train))].split(2):
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[pair]), y[pair])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    body.eval()
    with torch.no_grad():
        return network(x[torch.as_tensor(test)]).numpy()


def test_the_reference_network_is_neither_random_nor_perfect(
    samples: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    images, _, classes = samples
    halves = np.arange(SAMPLES) // 2 % 2
    areas = []
    for half in (0, 1):
        train, test = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
        areas.append(roc_auc_score(classes[test], reference_scores(images, classes, train, test)))
    assert 0.80 <= np.mean(areas) <= 0.95
