"""The order of classes: one known negative name comes first, else the user says which."""

from __future__ import annotations

import pytest
from claire.core.command.errors import UsageError
from claire.core.contracts.classes import NEGATIVE, class_order
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.names import spellings

others = st.sets(st.sampled_from(["covid", "pneumonia", "Fibrosis", "tumour", "1", "+"]), min_size=1, max_size=4)


def refused(labels: set[str], classes: str = "") -> UsageError:
    with pytest.raises(UsageError) as caught:
        class_order(labels, classes)
    assert caught.value.exit_code == 2
    return caught.value


@given(others, spellings(sorted(NEGATIVE)))
def test_the_one_known_negative_name_is_class_0_however_it_is_spelt(positives: set[str], negative: str) -> None:
    assume(negative.casefold() not in {label.casefold() for label in positives})
    order = class_order({*positives, negative}, "")
    assert order[0] == negative
    assert [*order[1:]] == sorted(positives)


@given(others, st.randoms())
def test_an_order_by_hand_is_taken_whatever_the_names_say(positives: set[str], random: object) -> None:
    names = [*sorted(positives), "normal"]
    random.shuffle(names)  # type: ignore[attr-defined]
    assert class_order({*positives, "normal"}, " , ".join(names)) == tuple(names)


@given(st.sets(st.sampled_from(["covid", "pneumonia", "tumour", "a", "z"]), min_size=2))
def test_no_known_negative_name_asks_for_classes(labels: set[str]) -> None:
    error = refused(labels)
    assert "none of them is known to mean negative" in error.problem
    assert f"--classes '{','.join(sorted(labels))}'" in error.remedy
    assert class_order(labels, ",".join(sorted(labels))) == tuple(sorted(labels))


def test_two_known_negative_names_ask_for_classes() -> None:
    error = refused({"healthy", "normal", "covid"})
    assert "several of them may mean negative" in error.problem
    assert "--classes" in error.remedy


@pytest.mark.parametrize(
    ("labels", "classes", "fault"),
    [
        ({"covid"}, "", "all patients have the label 'covid'"),
        (set(), "", "all patients have the label ''"),
        ({"Covid", "covid", "normal"}, "", "labels differ in case only: Covid, covid"),
        ({"covid", "normal"}, "normal", "--classes names normal: expected the labels of the scans, covid, normal"),
        ({"covid", "normal"}, "normal,covid,covid", "--classes names normal, covid, covid"),
        ({"covid", "normal"}, "normal,covid,flu", "--classes names normal, covid, flu"),
        ({"covid", "normal"}, "Normal,covid", "--classes names Normal, covid"),
    ],
)
def test_classes_that_cannot_be_are_refused_with_a_remedy(labels: set[str], classes: str, fault: str) -> None:
    error = refused(labels, classes)
    assert fault in error.problem
    assert error.remedy
