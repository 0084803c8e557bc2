"""`claire index`: what is found, what is chosen, how it is cut."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.shard_list import ListedSeries, read_shard_list, write_shard_list

from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker, chest, edit


def run(source: Path, out: Path, *flags: str) -> int:
    return claire("index", ["--source", str(source), "--out", str(out), "--log-level", "warning", *flags])


def lines(source: Path, out: Path, *flags: str) -> list[ListedSeries]:
    assert run(source, out, "--shards", "1", *flags) == 0
    return read_shard_list(out / "0000.shard.jsonl")


def record(out: Path) -> dict:
    return json.loads((out / "index.run.json").read_text())


def test_a_series_is_one_line_with_all_its_files(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a")
    (line,) = lines(tmp_path / "in", out)
    assert (line.kind, line.series_uid, line.instances, line.chosen, line.modality) == (
        "dicom",
        "1.2.3.200",
        24,
        True,
        "CT",
    )
    assert len(line.files) == 24
    assert all((tmp_path / "in" / name).is_file() for name in line.files)
    assert line.bytes == sum((tmp_path / "in" / name).stat().st_size for name in line.files)


def test_a_series_spread_over_folders_is_one(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a", range(12))
    SeriesMaker().write(tmp_path / "in/b/c", range(12, 24))
    assert [line.instances for line in lines(tmp_path / "in", out)] == [24]


def test_the_thinnest_series_up_to_the_limit_is_chosen(tmp_path: Path, out: Path) -> None:
    for uid, spacing, slices in (("1.1", 5.0, 20), ("1.2", 2.0, 50), ("1.3", 4.0, 25)):
        SeriesMaker(chest(slices, 16), series=uid, spacing=spacing).write(tmp_path / "in" / uid)
    found = {line.series_uid: line for line in lines(tmp_path / "in", out)}
    assert [uid for uid, line in found.items() if line.chosen] == ["1.2"]
    assert found["1.1"].why == "slices of 5 mm, thicker than 3 mm"


def test_a_preferred_kernel_comes_before_thinner_slices(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(30, 16), series="1.1", spacing=1.0, tags={"ConvolutionKernel": "B70f"}).write(tmp_path / "in/a")
    SeriesMaker(chest(24, 16), series="1.2", spacing=1.25).write(tmp_path / "in/b")
    sharp, soft = lines(tmp_path / "in", out, "--kernels", "b3*, B70f")
    assert (soft.chosen, sharp.chosen, sharp.why) == (True, False, "kernel is less preferred")


def test_the_whole_chest_comes_before_thin_slices(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(40, 16), series="1.1", spacing=1.0).write(tmp_path / "in/a")
    SeriesMaker(chest(50, 16), series="1.2", spacing=3.0).write(tmp_path / "in/b")
    part, whole = lines(tmp_path / "in", out)
    assert whole.chosen
    assert part.why == "covers 39 of 147 mm"


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]}, "projection or reformatted image (MIP)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "less original image type than the chosen one"),
        ({"Modality": "SR"}, "no scan: structured report (SR)"),
        ({"Modality": "MR"}, "modality MR"),
        ({"SeriesDescription": "Topogram 0.6"}, "localiser"),
    ],
)
def test_what_is_no_original_stack_is_not_chosen(tmp_path: Path, out: Path, tags: dict, why: str) -> None:
    SeriesMaker(chest(60, 16), series="1.1", spacing=1.0, tags=tags).write(tmp_path / "in/a")
    SeriesMaker(chest(30, 16), series="1.2").write(tmp_path / "in/b")
    other, scan = lines(tmp_path / "in", out)
    assert (scan.chosen, other.chosen, other.why) == (True, False, why)


def test_every_acquisition_gets_a_series(tmp_path: Path, out: Path) -> None:
    for uid, number in (("1.1", 1), ("1.2", 2)):
        SeriesMaker(chest(20, 16), series=uid, tags={"AcquisitionNumber": number}).write(tmp_path / "in" / uid)
    assert [line.chosen for line in lines(tmp_path / "in", out)] == [True, True]


def test_a_study_without_a_fit_series_is_left_to_ingest(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(3, 16), tags={"SeriesDescription": "scout"}).write(tmp_path / "in")
    (line,) = lines(tmp_path / "in", out)
    assert line.chosen
    assert line.why == "nothing better in its study: localiser"


OBJECTS = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"Modality": "SEG"}, "no scan: segmentation (SEG)"),
        ({"Modality": "RTSTRUCT"}, "no scan: structure set (RTSTRUCT)"),
        ({"Modality": "RTDOSE"}, "no scan: dose distribution (RTDOSE)"),
        ({"Modality": "RTPLAN"}, "no scan: object of radiotherapy"),
        ({"Modality": "KO"}, "no scan: structured report (SR)"),
        ({"Modality": "PR"}, "no scan: presentation state (PR)"),
        ({"Modality": "", "SOPClassUID": f"{OBJECTS}66.4"}, "no scan: segmentation (SEG)"),
        ({"Modality": "CT", "SOPClassUID": f"{OBJECTS}481.2"}, "no scan: dose distribution (RTDOSE)"),
        ({"Modality": "OT", "SOPClassUID": f"{OBJECTS}88.33"}, "no scan: structured report (SR)"),
        ({"Modality": "OT", "SOPClassUID": f"{OBJECTS}7"}, "modality OT"),
        ({"Modality": "MR"}, "modality MR"),
    ],
)
def test_what_is_no_ct_is_never_chosen_even_alone_in_its_study(tmp_path: Path, out: Path, tags: dict, why: str) -> None:
    SeriesMaker(chest(1, 16), tags=tags).write(tmp_path / "in")
    (line,) = lines(tmp_path / "in", out)
    assert (line.chosen, line.why) == (False, why)
    assert record(out)["counts"]["objects"] == why.startswith("no scan")


def test_a_localiser_under_the_uid_of_the_scan_is_kept_apart(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a")
    SeriesMaker(chest(1), tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(tmp_path / "in/b")
    scan, localiser = lines(tmp_path / "in", out)
    assert (scan.chosen, scan.part, localiser.chosen, localiser.part) == (True, 0, False, 1)
    assert scan.name != localiser.name


def test_a_copied_folder_counts_once(tmp_path: Path, out: Path) -> None:
    for folder in ("a", "copy"):
        SeriesMaker().write(tmp_path / "in" / folder)
    (line,) = lines(tmp_path / "in", out)
    assert line.instances == 24
    assert record(out)["counts"]["repeated"] == 24


def test_a_damaged_header_has_its_own_line(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a")
    (tmp_path / "in/broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\xff\xff\xff\xff\xff" * 9)
    broken = next(line for line in lines(tmp_path / "in", out) if line.problem)
    assert (broken.chosen, broken.files, broken.kind) == (False, ("broken.dcm",), "dicom")


def test_what_is_no_dicom_is_counted_and_skipped(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a")
    for name, content in (("notes.txt", b"hello"), ("empty", b""), ("x.pdf", b"%PDF" * 99)):
        (tmp_path / "in" / name).write_bytes(content)
    assert len(lines(tmp_path / "in", out)) == 1
    assert record(out)["counts"]["not_dicom"] == 3


def test_links_out_of_the_source_and_pipes_are_not_followed(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/a")
    SeriesMaker(series="9.9").write(tmp_path / "elsewhere")
    (tmp_path / "in/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/file.dcm").symlink_to(next((tmp_path / "elsewhere").iterdir()))
    os.mkfifo(tmp_path / "in/pipe")
    assert [line.series_uid for line in lines(tmp_path / "in", out)] == ["1.2.3.200"]
    assert {name: record(out)["counts"][name] for name in ("links", "others")} == {"links": 3, "others": 1}


def test_links_to_files_inside_are_followed_once(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "in/.store")
    for path in (tmp_path / "in/.store").iterdir():
        (tmp_path / "in" / path.name).symlink_to(path)
    (line,) = lines(tmp_path / "in", out)
    assert line.instances == 24


def test_the_source_itself_may_be_a_link(tmp_path: Path, out: Path) -> None:
    SeriesMaker().write(tmp_path / "real")
    (tmp_path / "in").symlink_to(tmp_path / "real")
    assert len(lines(tmp_path / "in", out)) == 1


def many(folder: Path) -> Path:
    for number, slices in enumerate((40, 10, 10, 10, 10)):
        name = f"{number}"
        SeriesMaker(chest(slices, 16), patient=f"p{name}", study=f"1.{name}", series=f"2.{name}").write(folder / name)
    return folder


def test_shards_are_balanced_by_size_and_always_as_many_as_asked(tmp_path: Path, out: Path) -> None:
    assert run(many(tmp_path / "in"), out, "--shards", "3") == 0
    sizes = [sorted(line.instances for line in read_shard_list(out / f"{n:04d}.shard.jsonl")) for n in range(3)]
    assert sorted(sizes) == [[10, 10], [10, 10], [40]]
    assert run(tmp_path / "in", out / "more", "--shards", "7") == 0
    assert len([*(out / "more").glob("*.shard.jsonl")]) == 7


def test_a_patient_is_not_torn_apart(tmp_path: Path, out: Path) -> None:
    for number in range(6):
        SeriesMaker(chest(8, 16), study=f"1.{number}", series=f"2.{number}").write(tmp_path / "in" / str(number))
    assert run(tmp_path / "in", out, "--shards", "3") == 0
    assert sorted(len(read_shard_list(path)) for path in out.glob("*.jsonl")) == [0, 0, 6]


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, out: Path) -> None:
    source = many(tmp_path / "in")
    for name, threads in (("a", "1"), ("b", "3")):
        assert run(source, out / name, "--shards", "2", "--threads", threads) == 0
    for path in (out / "a").glob("*.jsonl"):
        assert path.read_bytes() == (out / "b" / path.name).read_bytes()


def test_a_list_for_people_writes_nothing(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SeriesMaker(tags={"ConvolutionKernel": "B30f\x1b[2J"}).write(tmp_path / "in")
    assert run(tmp_path / "in", out, "--list") == 0
    told = capsys.readouterr().out
    assert "1.2.3.200" in told
    assert "yes" in told
    assert "\x1b" not in told
    assert [*out.iterdir()] == []


def test_the_list_shows_patient_date_and_descriptions(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"StudyDescription": "CT Thorax", "SeriesDescription": "Lunge 2.0 " + "sehr " * 9}
    SeriesMaker(chest(24, 16), patient="Meier-1", tags=texts).write(tmp_path / "in/a")
    SeriesMaker(chest(1, 16), study="1.9", series="1.9.1", tags={"Modality": "SEG"}).write(tmp_path / "in/b")
    assert run(tmp_path / "in", out, "--list") == 0
    header, scan, mask, *_ = capsys.readouterr().out.splitlines()

    def cell(row: str, name: str) -> str:
        start = header.index(name)
        return row[start:].split("  ")[0].strip()

    assert [cell(scan, name) for name in ("patient", "date", "study", "slices", "mm", "chosen")] == [
        "Meier-1", "2020-03-15", "CT Thorax", "24", "2", "yes",
    ]  # fmt: skip
    assert cell(scan, "description") == "Lunge 2.0 sehr sehr sehr sehr s…"
    assert (cell(mask, "chosen"), cell(mask, "why")) == ("no", "no scan: segmentation (SEG)")


def test_what_is_passed_over_is_named_at_the_site_and_counted_in_the_log(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SeriesMaker(chest(24, 16)).write(tmp_path / "in/a")
    (tmp_path / "in/Meier").symlink_to(tmp_path)
    for name in ("Mueller.ZIP", "Schmidt.dcm.gz", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"PK\x03\x04" + b"0" * 400)
    (tmp_path / "in/a/one.zip").write_bytes(next((tmp_path / "in/a").iterdir()).read_bytes())
    assert run(tmp_path / "in", out, "--list") == 0
    told = capsys.readouterr().out
    for line in (
        "passed over: 1 link not followed, 2 archives not opened, 1 file that is neither DICOM nor NIfTI, "
        "1 copy of a DICOM file",
        "  link not followed: Meier",
        "  archive not opened: Mueller.ZIP",
        "  archive not opened: Schmidt.dcm.gz",
    ):
        assert line in told.splitlines()
    assert run(tmp_path / "in", out, "--log-level", "info") == 0
    told = capsys.readouterr().err
    assert "passed over: 1 link not followed, 2 archives not opened" in told
    assert "Meier" not in told
    assert "Mueller" not in told
    assert {name: record(out)["counts"][name] for name in ("links", "archives", "not_dicom")} == {
        "links": 1, "archives": 2, "not_dicom": 1,
    }  # fmt: skip


def test_a_directory_of_archives_is_refused_by_what_it_holds(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.tar.gz").write_bytes(b"\x1f\x8b" + bytes(99))
    assert run(tmp_path / "in", out) == 1
    assert "3 archives not opened" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "dtype", "intent", "why"),
    [
        ("lung_mask", np.int16, 0, "a mask by its name (mask)"),
        ("P1_lungmask", np.int16, 0, "a mask by its name (lungmask)"),
        ("sub-1_dseg", np.int16, 0, "a mask by its name (dseg)"),
        ("x-seg", np.int16, 0, "a mask by its name (seg)"),
        ("labels", np.float32, 0, "a mask by its name (labels)"),
        ("lobes", np.int16, 1002, "a mask by its intent (NIFTI_INTENT_LABEL)"),
        ("lobes", np.uint8, 0, "a mask or picture: its voxels have 8 bits, which hold no HU"),
        ("unmasked", np.int16, 0, ""),
        ("unlabeled_ct", np.int32, 0, ""),
        ("roidel", np.float32, 0, ""),
    ],
)
def test_nifti_masks_are_listed_and_never_chosen(
    tmp_path: Path, out: Path, name: str, dtype: type, intent: int, why: str
) -> None:
    (tmp_path / "in").mkdir()
    image = nib.Nifti1Image(np.zeros((16, 16, 30), dtype), np.diag([-2.0, -2, 3, 1]))
    image.header["intent_code"] = intent
    nib.save(image, tmp_path / f"in/{name}.nii.gz")
    (line,) = lines(tmp_path / "in", out)
    assert (line.chosen, line.why) == (not why, why)
    assert record(out)["counts"]["masks"] == bool(why)


def test_a_mask_is_known_by_its_compression(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    lobes = np.zeros((64, 64, 30))
    lobes[20:40, 20:40] = 1
    noise = np.random.default_rng(0).normal(-500, 20, lobes.shape).astype(np.int16)
    for name, voxels in (("lower_lobe", lobes), ("scan", noise)):
        nib.save(nib.Nifti1Image(voxels, np.diag([-2.0, -2, 3, 1])), tmp_path / f"in/{name}.nii.gz")
    mask, scan = lines(tmp_path / "in", out)
    assert (mask.chosen, scan.chosen) == (False, True)
    assert mask.why.startswith("a mask by its compression")


def test_an_empty_directory_is_an_error_with_a_remedy(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert run(tmp_path / "in", out) == 1
    told = capsys.readouterr().err
    assert "--source holds no DICOM or NIfTI series" in told
    assert "readable" in told
    assert not (out / "index.run.json").exists()


def test_a_source_that_is_not_there_is_a_usage_error(tmp_path: Path, out: Path) -> None:
    assert run(tmp_path / "in", out) == 2


def test_the_record_and_the_log_name_nobody(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SeriesMaker(patient="Meier-0815", series="1.2.77").write(tmp_path / "in/Meier")
    edit(next((tmp_path / "in/Meier").iterdir()), StudyInstanceUID="no uid at all")
    assert claire("index", ["--source", str(tmp_path / "in"), "--out", str(out), "--shards", "1"]) == 0
    told = capsys.readouterr().err + (out / "index.run.json").read_text()
    assert not [name for name in ("Meier", "0815", "1.2.77", "Doe", str(tmp_path)) if name in told]


def test_nifti_files_are_series_with_the_facts_beside_them(tmp_path: Path, out: Path) -> None:

    folder = tmp_path / "in/sub-01"
    folder.mkdir(parents=True)
    image = nib.Nifti1Image(np.zeros((16, 16, 30), np.int16), np.diag([-2.0, -2, 3, 1]))
    for name, facts in (("a", {"0020000E": {"vr": "UI", "Value": ["5.6"]}, "00080060": {"Value": ["CT"]}}), ("b", {})):
        nib.save(image, folder / f"{name}.nii.gz")
        (folder / f"{name}.json").write_text(json.dumps(facts))
    first, second = lines(tmp_path / "in", out)
    assert (first.kind, first.series_uid, first.modality, first.instances) == ("nifti", "5.6", "CT", 30)
    assert (second.kind, second.series_uid, second.chosen) == ("nifti", "", True)


def test_a_shard_that_was_cut_short_is_refused(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(4, 16)).write(tmp_path / "in")
    lines(tmp_path / "in", out)
    path = out / "0000.shard.jsonl"
    for text in ("", path.read_text().splitlines()[0] + "\n", json.dumps({"lines": 1}) + "\n"):
        path.write_text(text)
        with pytest.raises(ClaireError, match="is incomplete"):
            read_shard_list(path)


def test_links_in_a_circle_are_passed_over(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(4, 16)).write(tmp_path / "in")
    (tmp_path / "in/self").symlink_to("self")
    (tmp_path / "in/gone").symlink_to("nowhere")
    assert len(lines(tmp_path / "in", out)) == 1


def test_a_shard_that_leaves_the_source_is_refused(tmp_path: Path, out: Path) -> None:
    SeriesMaker(chest(4, 16)).write(tmp_path / "in")
    (line,) = lines(tmp_path / "in", out)
    for name in ("../../etc/passwd", "a/../../b", "/etc/passwd"):
        path = write_shard_list(tmp_path / "evil.jsonl", [line.model_copy(update={"files": (name,)})])
        with pytest.raises(ClaireError, match="names a file outside the source"):
            read_shard_list(path)
