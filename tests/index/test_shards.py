"""Series dealt to shards: who belongs together stays together, and the load is even."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from claire.core.contracts.shard_list import read_shard_list
from claire.core.sources.dicom import read_header
from claire.index.choice import Verdict
from claire.index.series import Series
from claire.index.shards import deal, owners_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker, chest


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("series")


def series_of(folder: Path, patient: str, study: str, size: int = 100) -> Series:
    """Return a series as index reads it from one file."""
    path = folder / f"{patient}-{study}.dcm"
    if not path.exists():
        SeriesMaker(chest(1, 8), patient=patient, study=study, series=f"9.{study}").dataset(0).save_as(path)
    series = Series("dicom", read_header(path), folder)
    series.files, series.bytes = [f"{path.name}-{size}"], size
    return series


drawn_series = st.lists(
    st.tuples(st.sampled_from(["p1", "p2", "p3", ""]), st.sampled_from(["1.1", "1.2", "1.3"]), st.integers(1, 99)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn_series, st.integers(1, 4))
def test_every_series_is_dealt_once_and_patients_and_studies_are_whole(
    maker: Path, drawn: list[tuple[str, str, int]], count: int
) -> None:
    series = [series_of(maker, *each) for each in drawn]
    shards = deal(series, [Verdict(True)] * len(series), count)
    assert len(shards) == count
    assert sorted(i for shard in shards for i in shard) == [*range(len(series))]
    assert all(shard == sorted(shard) for shard in shards)
    shards_of: dict[str, set[int]] = defaultdict(set)
    for number, shard in enumerate(shards):
        for i in shard:
            patient, study, _ = drawn[i]
            shards_of[f"study {study}"].add(number)
            if patient:
                shards_of[f"patient {patient}"].add(number)
    assert [name for name, numbers in shards_of.items() if len(numbers) > 1] == []


def test_patients_linked_by_a_study_have_one_owner(maker: Path) -> None:
    chain = [("p1", "1.1"), ("p2", "1.1"), ("p2", "1.2"), ("p3", "1.2"), ("p4", "1.9")]
    owners = owners_of([series_of(maker, *each) for each in chain])
    assert len(set(owners[:4])) == 1
    assert owners[4] != owners[0]


def test_the_heaviest_go_first_and_idle_series_weigh_nothing(maker: Path) -> None:
    sizes = (60, 30, 30, 90)
    series = [series_of(maker, f"p{i}", f"1.{i}", size) for i, size in enumerate(sizes)]
    chosen = [Verdict(True)] * 3 + [Verdict(False, "thicker")]
    shards = deal(series, chosen, 2)
    assert {frozenset(i for i in shard if i < 3) for shard in shards} == {frozenset({0}), frozenset({1, 2})}


def test_two_patient_ids_of_one_study_are_in_one_shard(tmp_path: Path, out: Path) -> None:
    for number, (patient, study) in enumerate((("A", "1.5"), ("B", "1.5"), ("C", "1.6"), ("D", "1.7"))):
        made = SeriesMaker(chest(4, 8), patient=patient, study=study, series=f"1.9.{number}")
        made.write(tmp_path / f"in/{patient}")
    assert claire("index", ["--source", str(tmp_path / "in"), "--out", str(out), "--shards", "4"]) == 0
    shards = [[line.study_uid for line in read_shard_list(path)] for path in sorted(out.glob("*.jsonl"))]
    assert sorted(shards) == [[], ["1.5", "1.5"], ["1.6"], ["1.7"]]
