"""`claire cohort`: what it joins, how it draws folds, what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claire.core.command.errors import UsageError
from claire.core.command.tables import read_csv
from claire.core.contracts.classes import class_order
from claire.core.contracts.cohort import open_cohort
from claire.core.contracts.fold_draw import Patient, draw_folds
from claire.core.contracts.folds import read_folds
from claire.core.contracts.prepared import PreparedScan, write_prepared
from claire.core.contracts.rejects import Reject, write_rejects
from claire.core.contracts.scan_table import read_scan_table
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.command import claire
from tests.support.scans import lung_facts, scan_facts

SIZE, COUNT, KEPT = 16, 3, (2, 4, 6)


@dataclass
class Scanned:
    """A prepared scan to be written; `facts` go into its sidecar."""

    number: int
    patient: int
    label: str
    facts: dict[str, Any] = field(default_factory=dict)

    def prepared(self) -> PreparedScan:
        """Return the scan as preprocess describes it."""
        labels = self.facts.get("slice_labels")
        by_slice = [None] * 9
        for index, label in zip(KEPT, labels or (), strict=False):
            by_slice[index] = label
        facts = {
            "line": self.number, "patient": f"P{self.patient:012x}", "label": self.label, "vendor": "Maker",
            "pixel_hash": f"{self.number:064x}", **self.facts,
            "slice_labels": tuple(by_slice) if labels else None,
        }  # fmt: skip
        return PreparedScan(
            facts=scan_facts(f"S{self.number:012x}", 9, **facts),
            lungs=lung_facts(right_ml=2.0, left_ml=1.0),
            slices=KEPT,
            affine=np.diag([-1.0, -1.0, 5.0, 1.0]),
            slice_positions_mm=(0.0, 5.0, 10.0),
            crop=(0, 512, 0, 512),
            original_shape=(9, 512, 512),
        )


def write_shard(path: Path, scans: Sequence[Scanned], size: int = SIZE) -> Path:
    """Write a prepared shard by the contract; the voxels of scan n are all n."""
    with write_prepared(path, size) as shard:
        for scan in scans:
            shape = (COUNT, size, size)
            hu, lungs = np.full(shape, scan.number, "<i2"), np.full(shape, 1 + scan.number % 2, "u1")
            shard.add(scan.prepared(), hu, lungs)
    return path


def some(patients: int = 12, **facts: Any) -> list[Scanned]:
    return [Scanned(n, n, ("covid", "normal")[n % 2], dict(facts)) for n in range(patients)]


def rejected(reason: str, line: int = 0) -> Reject:
    return Reject(step="ingest", shard="0000", line=line, scan="", reason=reason, detail="x")


class Folder:
    """Runs the step in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path / "out"

    def run(self, *shards: Sequence[Scanned], rejects: Sequence[Reject] = (), flags: Sequence[str] = ()) -> int:
        paths = [write_shard(self.path / f"{i:04}.prepared.h5", scans) for i, scans in enumerate(shards)]
        return self.run_files(paths, rejects, flags)

    def run_files(self, paths: Sequence[Path], rejects: Sequence[Reject] = (), flags: Sequence[str] = ()) -> int:
        table = write_rejects(self.path / "0000.ingest.rejects.csv", rejects)
        (self.path / "prepared.txt").write_text("".join(f"{path}\n" for path in paths))
        (self.path / "rejects.txt").write_text(f"{table}\n")
        listings = ["--prepared", str(self.path / "prepared.txt"), "--reject-tables", str(self.path / "rejects.txt")]
        return claire("cohort", [*listings, "--out", str(self.out), "--fold-count", "3", *flags])

    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "cohort.json").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def refused(folder: Folder, capsys: pytest.CaptureFixture[str], code: int, *words: str) -> None:
    """Assert that at most rejects.csv was written; that one message says the words, without a traceback."""
    message = capsys.readouterr().err.split("claire cohort: ")[-1]
    assert [word for word in words if word not in message] == []
    assert len(message.splitlines()) <= 3
    assert "Traceback" not in message
    assert [path.name for path in folder.out.iterdir()] in ([], ["rejects.csv"])
    assert code in (1, 2)


def test_scans_of_all_shards_stand_in_the_order_of_their_ids(folder: Folder) -> None:
    scans = some()
    assert folder.run(scans[7:], [], scans[:7]) == 0
    cohort = open_cohort(folder.out / "cohort.h5")
    assert [scan.scan for scan in cohort.scans] == [f"S{n:012x}" for n in range(12)]
    assert all((cohort.voxels(scan)[0] == n).all() for n, scan in enumerate(cohort.scans))
    assert all((cohort.voxels(scan)[1] == 1 + n % 2).all() for n, scan in enumerate(cohort.scans))
    assert cohort.classes == ("normal", "covid")


def test_sharding_and_order_change_no_byte(tmp_path: Path) -> None:
    scans = some()
    first, second = Folder(tmp_path / "a"), Folder(tmp_path / "b")
    first.path.mkdir()
    second.path.mkdir()
    assert first.run(scans) == 0
    assert second.run(scans[5:], scans[:5][::-1]) == 0
    for name in ("cohort.h5", "cohort.json", "scans.csv", "folds.csv", "rejects.csv"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes(), name


def test_the_summary_and_the_record_agree_with_the_cohort(folder: Folder) -> None:
    scans = [*some(), Scanned(99, 0, "covid", {"site": "south"})]
    assert folder.run(scans, rejects=[rejected("not_chosen"), rejected("gantry_tilt", 1)]) == 0
    summary, cohort = folder.summary(), open_cohort(folder.out / "cohort.h5")
    record = json.loads((folder.out / "cohort.run.json").read_text())
    assert summary["sha256"] == cohort.sha256 == record["outputs"]["cohort.h5"]
    assert (summary["scans"], summary["patients"], summary["size"], summary["phantom"]) == (13, 12, SIZE, True)
    assert summary["patients_by_class"] == {"normal": 6, "covid": 6}
    assert summary["rejected"] == {"gantry_tilt": 1, "not_chosen": 1}
    south = {"label": "covid", "site": "south", "vendor": "Maker", "patients": 1, "scans": 1}
    assert [row for row in summary["cells"] if row["site"] == "south"] == [south]
    assert sum(row["scans"] for row in summary["cells"]) == 13


def test_scans_table(folder: Folder) -> None:
    assert folder.run(some()) == 0
    row = read_csv(folder.out / "scans.csv")[0]
    assert (row["scan"], row["label"], row["slices_kept"], row["slices"]) == ("S000000000000", "covid", "3", "9")
    assert (row["right_ml"], row["left_ml"], row["slice_spacing_mm"], row["phantom"]) == ("2.0", "1.0", "5.0", "true")


def test_nothing_of_a_patient_but_class_voxels_and_geometry_crosses(folder: Folder) -> None:
    assert folder.run(some(site="Hillside Clinic", sex="F", age_band="60-69")) == 0
    content = (folder.out / "cohort.h5").read_bytes() + (folder.out / "folds.csv").read_bytes()
    assert not [text for text in (b"Hillside", b"60-69", b"RT-PCR", b"Maker", b"pixel_hash") if text in content]


def test_slice_labels_become_class_indices(folder: Folder) -> None:
    labelled = Scanned(50, 50, "covid", {"slice_labels": ["normal", None, "covid"]})
    assert folder.run([*some(), labelled]) == 0
    assert open_cohort(folder.out / "cohort.h5").scans[-1].slice_labels == (0, -1, 1)
    assert folder.summary()["labelled_slices"] == 2


def test_a_slice_label_that_is_no_class_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Scanned(50, 50, "covid", {"slice_labels": ["lesion", None, None]})
    refused(folder, capsys, folder.run([*some(), odd]), "'lesion'", "normal, covid")


def test_folds_keep_fixed_splits_and_patients_together(folder: Folder) -> None:
    scans = [*some(), Scanned(60, 60, "covid", {"split": "external"}), Scanned(61, 3, "normal")]
    assert folder.run(scans) == 0
    folds = read_folds(folder.out / "folds.csv")
    assert folds.fixed == {"P00000000003c": "external"}
    assert (folds.count, len(folds.fold)) == (3, 12)


patient_lists = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "n", "s", "w"])), min_size=1, max_size=60
)


def made(drawn: Sequence[tuple[str, str]]) -> list[Patient]:
    return [Patient(f"P{i}", label, site, "") for i, (label, site) in enumerate(drawn)]


@settings(deadline=None, max_examples=60)
@given(patient_lists, st.integers(3, 7), st.integers(0, 5), st.randoms())
def test_folds_are_balanced_seeded_and_independent_of_order(drawn, count, seed, random) -> None:
    patients = made(drawn)
    folds = draw_folds(patients, count, seed)
    assert set(folds.fold) == {patient.patient for patient in patients}
    for key in (lambda p: "", lambda p: p.label, lambda p: (p.label, p.site)):
        for group in {key(patient) for patient in patients}:
            sizes = Counter(folds.fold[patient.patient] for patient in patients if key(patient) == group)
            assert max(sizes[k] for k in range(count)) - min(sizes[k] for k in range(count)) <= 1
    random.shuffle(patients)
    assert draw_folds(patients, count, seed) == folds


def test_another_seed_draws_other_folds() -> None:
    patients = made([("a", "n"), ("b", "n")] * 20)
    assert draw_folds(patients, 5, 0) != draw_folds(patients, 5, 1)


def test_each_patient_tests_once_and_validates_once(folder: Folder) -> None:
    assert folder.run(some()) == 0
    folds = read_folds(folder.out / "folds.csv")
    for role in ("test", "validation"):
        seen = Counter(patient for k in range(3) for patient in folds.roles(k)[role])
        assert set(seen.values()) == {1}
        assert len(seen) == 12


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ({"positive", "negative"}, ("negative", "positive")),
        ({"Covid", "Normal", "Pneumonia"}, ("Normal", "Covid", "Pneumonia")),
        ({"covid", "non covid"}, ("non covid", "covid")),
        ({"covid", "CT_NonCOVID"}, ("CT_NonCOVID", "covid")),
        ({"covid", "no finding"}, ("no finding", "covid")),
        ({"covid", "pneumonia", "healthy"}, ("healthy", "covid", "pneumonia")),
        ({"1", "0"}, ("0", "1")),
    ],
)
def test_a_known_negative_name_comes_first(labels: set[str], order: tuple[str, ...]) -> None:
    assert class_order(labels, "") == order


def test_classes_may_be_ordered_by_hand() -> None:
    assert class_order({"a", "b", "c"}, "c, a,b") == ("c", "a", "b")


@pytest.mark.parametrize(
    ("labels", "wanted", "word"),
    [
        ({"a"}, "", "nothing to distinguish"),
        ({"a", "A"}, "", "case"),
        ({"covid", "pneumonia"}, "", "none of them is known to mean negative"),
        ({"normal", "healthy"}, "", "several of them may mean negative"),
        ({"a", "b"}, "a,c", "c"),
        ({"a", "b"}, "a,a", "a"),
    ],
)
def test_classes_that_cannot_be_are_refused(labels: set[str], wanted: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        class_order(labels, wanted)


def test_labels_that_match_no_series_are_told_once(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([], rejects=[rejected("no_label", n) for n in range(4)] + [rejected("not_chosen", 5)])
    assert code == 2
    refused(folder, capsys, code, "none of the 4 chosen series has a label", "key column")


def test_an_empty_cohort_names_the_reasons(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([], rejects=[rejected("gantry_tilt"), rejected("no_label", 1)])
    assert code == 1
    refused(folder, capsys, code, "gantry_tilt: 1", "no_label: 1")


def test_too_many_rejects_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    rejects = [rejected("missing_slices", n) for n in range(13)]
    code = folder.run(some(), rejects=rejects)
    assert code == 1
    refused(folder, capsys, code, "13 of 25", "missing_slices: 13", "--max-reject-fraction")
    assert folder.run(some(), rejects=rejects, flags=["--max-reject-fraction", "0.6"]) == 0


@pytest.mark.parametrize("reason", ["not_chosen", "no_label", "not_ct", "localiser"])
def test_only_scans_that_could_have_entered_count_as_lost(folder: Folder, reason: str) -> None:
    assert folder.run(some(), rejects=[rejected(reason, n) for n in range(50)]) == 0
    assert len(read_csv(folder.out / "rejects.csv")) == 50


def test_a_refused_cohort_leaves_its_rejects_behind(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.run(some(), rejects=[rejected("missing_slices", n) for n in range(13)]) == 1
    assert len(read_csv(folder.out / "rejects.csv")) == 13
    assert "rejects.csv in --out lists the 13 series" in capsys.readouterr().err


def test_a_formula_in_a_table_is_neutralised(folder: Folder) -> None:
    formula = "=cmd|' /C calc'!A0"
    assert folder.run(some(site=formula)) == 0
    assert read_csv(folder.out / "scans.csv")[0]["site"] == f"'{formula}"
    assert read_scan_table(folder.out / "scans.csv")["S000000000000"].site == formula


def test_a_patient_with_two_labels_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([*some(), Scanned(70, 1, "covid")])
    assert code == 1
    refused(folder, capsys, code, "P000000000001", "'covid' and 'normal'")


def test_a_patient_under_two_splits_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([*some(), Scanned(70, 1, "normal", {"split": "test"})])
    refused(folder, capsys, code, "P000000000001", "none and 'test'")


def test_the_same_pixels_under_two_patients_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([*some(), Scanned(70, 70, "normal", {"pixel_hash": f"{1:064x}"})])
    assert code == 1
    refused(folder, capsys, code, "P000000000001 and P000000000046")


def test_a_second_copy_of_a_scan_is_set_aside(folder: Folder) -> None:
    assert folder.run([*some(), Scanned(70, 1, "normal", {"pixel_hash": f"{1:064x}"})]) == 0
    rows = read_csv(folder.out / "rejects.csv")
    assert [(row["step"], row["shard"], row["scan"], row["reason"]) for row in rows] == [
        ("cohort", "0000", "S000000000046", "duplicate")
    ]
    assert folder.summary()["scans"] == 12


def test_one_class_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run([scan for scan in some() if scan.label == "covid"])
    assert code == 2
    refused(folder, capsys, code, "'covid'", "two classes")


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ("7", ["6 patients", "7 folds", "--fold-count 6"]),
        ("20", ["20 folds"]),
        ("2", ["at least 3"]),
        ("1", ["at least 3"]),
    ],
)
def test_a_number_of_folds_that_cannot_be_is_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str], folds: str, words: list[str]
) -> None:
    code = folder.run(some(), flags=["--fold-count", folds])
    assert code == 2
    refused(folder, capsys, code, *words)


def test_splits_that_are_all_fixed_make_one_fold(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    scans = some()
    for scan in scans:
        scan.facts["split"] = ("train", "validation", "test")[scan.number // 2 % 3]
    assert folder.run(scans) == 2
    assert "--fold-count 1" in capsys.readouterr().err
    assert folder.run(scans, flags=["--fold-count", "1"]) == 0
    assert read_folds(folder.out / "folds.csv").count == 1


def test_a_fixed_split_without_a_class_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    scans = some()
    for scan in scans:
        scan.facts["split"] = "test" if scan.number < 2 else "train"
    refused(folder, capsys, folder.run(scans, flags=["--fold-count", "1"]), "validation")


def test_a_scan_in_two_shards_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    code = folder.run(some(), some(1))
    refused(folder, capsys, code, "S000000000000", "0000.prepared.h5", "0001.prepared.h5")


def test_shards_of_different_size_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    shards = [
        write_shard(folder.path / "0000.prepared.h5", some()),
        write_shard(folder.path / "0001.prepared.h5", [], size=32),
    ]
    refused(folder, capsys, folder.run_files(shards), "16 pixels", "32 pixels")


@pytest.mark.parametrize("content", [b"no shard", b""])
def test_a_broken_shard_is_named(folder: Folder, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (folder.path / "0003.prepared.h5").write_bytes(content)
    shards = [write_shard(folder.path / "0000.prepared.h5", some()), folder.path / "0003.prepared.h5"]
    refused(folder, capsys, folder.run_files(shards), "0003.prepared.h5", "preprocess")


def test_a_shard_that_has_rejects_alone_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    shard = write_shard(folder.path / "0001.prepared.h5", some())
    refused(folder, capsys, folder.run_files([shard]), "shard 0000 has rejects but no prepared scans")


def test_a_site_with_one_class_is_told(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    scans = some()
    for scan in scans:
        scan.facts["site"] = scan.label
    assert folder.run(scans) == 0
    assert "each site of 'covid', 'normal' has one class only" in capsys.readouterr().err
