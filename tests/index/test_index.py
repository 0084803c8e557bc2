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
        ({"Modality": "SR"}, "modality SR"),
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
    SeriesMaker(chest(3, 16), tags={"Modality": "MR"}).write(tmp_path / "in")
    (line,) = lines(tmp_path / "in", out)
    assert line.chosen
    assert line.why == "nothing better in its study: modality MR"


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
    assert record(out)["counts"]["links_and_others"] == 4


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
