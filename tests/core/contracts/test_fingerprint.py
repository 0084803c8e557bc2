"""A scan is compared with a cohort in plain words."""

from __future__ import annotations

import numpy as np
import pytest
from claire.core.contracts.fingerprint import (
    NUMBERS,
    Acquisition,
    Features,
    Fingerprint,
    NumberSummary,
    RobustDistance,
    measure_features,
    out_of_cohort,
)

from tests.support.bundling import scan_rows
from tests.support.scans import scan_facts
from tests.support.synthetic import CohortFiles, voxels


def summary(low: float, high: float) -> NumberSummary:
    middle = (low + high) / 2
    return NumberSummary(n=9, minimum=low, p1=low, median=middle, p99=high, maximum=high)


def fingerprint(**changes: object) -> Fingerprint:
    values: dict[str, object] = {
        "scans": 20, "patients": 20, "numbers": {"thickness_mm": summary(0.6, 2.5)},
        "categories": {"kernel": {"soft": 12, "lung": 8}, "vendor": {"unknown": 20}, "subject": {"patient": 20}},
    }  # fmt: skip
    return Fingerprint.model_validate(values | changes)


def features(thickness: float | None = 1.0, kernel: str = "soft", subject: str = "patient") -> Features:
    numbers = {} if thickness is None else {"thickness_mm": thickness}
    return Features(numbers, {"kernel": kernel, "vendor": "Maker", "subject": subject})


@pytest.mark.parametrize("thickness", [None, 0.6, 1.0, 2.5, 2.55])
def test_a_scan_like_those_of_the_cohort_gives_no_sentence(thickness: float | None) -> None:
    assert out_of_cohort(fingerprint(), features(thickness)) == ()


def test_what_the_cohort_has_never_shown_is_said_with_what_it_has() -> None:
    assert out_of_cohort(fingerprint(), features(8.0, "bone", "phantom")) == (
        "slice thickness of 8 mm; trained on 0.6 to 2.5 mm",
        "kernel bone; trained on soft, lung",
        "subject phantom; trained on patient",
    )


def test_what_is_unknown_or_merged_is_not_held_against_a_scan() -> None:
    assert out_of_cohort(fingerprint(), features(kernel="unknown")) == ()
    merged = fingerprint(categories={"kernel": {"other": 6}})
    assert out_of_cohort(merged, features(kernel="bone")) == ()
    partly = fingerprint(categories={"kernel": {"soft": 12, "other": 6}})
    assert out_of_cohort(partly, features(kernel="bone")) == ("kernel bone; trained mostly on soft",)


def test_an_unusual_combination_of_usual_values_is_said() -> None:
    precision = np.linalg.inv(np.array([[1.0, 0.95], [0.95, 1.0]]))
    distance = RobustDistance(
        features=("hu_p25", "hu_p75"), centre=(-870.0, -820.0), scale=(10.0, 20.0),
        precision=tuple(map(tuple, precision.tolist())), clip=8.0, threshold=3.0, n=80,
    )  # fmt: skip
    numbers = {"hu_p25": summary(-900, -840), "hu_p75": summary(-880, -760)}
    cohort = fingerprint(numbers=numbers, distance=distance, categories={})
    assert out_of_cohort(cohort, Features({"hu_p25": -855.0, "hu_p75": -790.0}, {})) == ()
    (sentence,) = out_of_cohort(cohort, Features({"hu_p25": -850.0, "hu_p75": -860.0}, {}))
    assert sentence.startswith("unusual combination of values, at a distance of ")
    assert distance.of({"hu_p25": -850.0}) is None


def test_one_function_measures_scans_of_the_cohort_and_new_ones(cohort_files: CohortFiles) -> None:
    hu, lungs = voxels(1, True)
    measured = measure_features(Acquisition.of_row(scan_rows(cohort_files)[0]), hu, lungs, (10.0, 8.0, 8.0))
    assert set(measured.numbers) == set(NUMBERS)
    assert measured.names == {"vendor": "Maker", "kernel": "sharp", "subject": "phantom"}
    fresh = measure_features(Acquisition.of_facts(scan_facts(thickness_mm=None)), hu, lungs, (10.0, 8.0, 8.0))
    assert set(NUMBERS) - set(fresh.numbers) == {"thickness_mm"}
    assert (fresh.numbers["slices"], fresh.numbers["slice_spacing_mm"]) == (44, 5.0)
    assert fresh.names["kernel"] == "unknown"
