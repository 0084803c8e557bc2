"""The fingerprint of a cohort: summaries, merged cells, a distance that most of its own scans keep to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from claire.bundle.fingerprint import MIN_PATIENTS, summarise
from claire.core.contracts.fingerprint import Features, out_of_cohort


def drawn(n: int, seed: int = 0, kernels: Sequence[str] = ("soft", "lung")) -> list[Features]:
    """Draw scans whose lungs' percentiles go together."""
    rng = np.random.default_rng(seed)
    scans = []
    for i in range(n):
        level, spread = rng.normal(-850, 12), rng.gamma(20, 2)
        numbers = {
            "thickness_mm": float(rng.choice([1.0, 1.5, 2.0])), "slices": 120.0,
            "lung_ml": float(rng.normal(4500, 600)), "hu_p25": level - spread, "hu_p50": level,
            "hu_p75": level + spread,
        }  # fmt: skip
        scans.append(Features(numbers, {"kernel": kernels[i % len(kernels)], "vendor": "Maker", "subject": "patient"}))
    return scans


def names(n: int) -> list[str]:
    return [f"P{i:03d}" for i in range(n)]


def test_numbers_are_summarised_and_missing_ones_not_counted() -> None:
    scans = [Features({"slices": float(i)}, {"kernel": "a", "vendor": "b", "subject": "patient"}) for i in range(101)]
    scans[0] = Features({"slices": 0.0, "thickness_mm": 2.0}, scans[0].names)
    made = summarise(scans, names(101))
    slices = made.numbers["slices"]
    assert (slices.n, slices.minimum, slices.p1, slices.median, slices.p99, slices.maximum) == (101, 0, 1, 50, 99, 100)
    assert made.numbers["thickness_mm"].n == 1
    assert set(made.numbers) == {"slices", "thickness_mm"}


def test_values_of_few_patients_are_merged_so_that_none_can_be_subtracted() -> None:
    kernels = ["soft"] * 12 + ["lung"] * 6 + ["bone"] * 3
    scans = [drawn(1, i, [kernel])[0] for i, kernel in enumerate(kernels)]
    assert summarise(scans, names(21)).categories["kernel"] == {"other": 9, "soft": 12}
    assert summarise(scans, ["P0"] * 12 + names(9)).categories["kernel"] == {"other": 21}


def test_a_distance_needs_many_patients() -> None:
    few = summarise(drawn(MIN_PATIENTS - 1), names(MIN_PATIENTS - 1))
    assert few.distance is None
    assert f"{MIN_PATIENTS} are needed" in few.note
    assert summarise(drawn(MIN_PATIENTS), names(MIN_PATIENTS)).distance is not None


def test_the_distance_keeps_most_new_scans_of_the_same_kind_and_none_of_another() -> None:
    made = summarise(drawn(400), names(400))
    assert made.distance is not None
    assert "slices" not in made.distance.features, "it does not vary"
    fresh = [scan.numbers for scan in drawn(400, seed=1)]
    flagged = np.mean([(made.distance.of(numbers) or 0) > made.distance.threshold for numbers in fresh])
    assert flagged <= 0.03
    twisted = [{**numbers, "hu_p25": numbers["hu_p75"], "hu_p75": numbers["hu_p25"]} for numbers in fresh]
    assert all((made.distance.of(numbers) or 0) > made.distance.threshold for numbers in twisted)


def test_scans_of_one_patient_do_not_vouch_for_each_other() -> None:
    scans = drawn(200)
    alone = summarise(scans, names(200)).distance
    odd = [Features({**scan.numbers, "lung_ml": 9000.0}, scan.names) for scan in drawn(12, seed=2)]
    several, each = (
        summarise([*scans, *odd], [*names(200), *people]).distance
        for people in (["Q"] * 12, [f"Q{i}" for i in range(12)])
    )
    assert alone is not None
    assert several is not None
    assert each is not None
    assert several.threshold > each.threshold > alone.threshold


@pytest.mark.parametrize("n", [20, 120])
def test_the_cohorts_own_scans_are_like_it(n: int) -> None:
    scans = drawn(n)
    made = summarise(scans, names(n))
    unlike = [out_of_cohort(made, scan) for scan in scans]
    assert sum(map(bool, unlike)) <= 0.02 * n
