"""Variants: content ids, documents, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import write_json
from claire.core.contracts.variant import Variant, load_variant, parse_variant
from hypothesis import given
from hypothesis import strategies as st

values = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.floats(1e-8, 1),
        "weight_decay": st.floats(0, 1),
        "size": st.integers(16, 1024),
        "pooling": st.sampled_from(["attention", "topk", "mean", "max"]),
        "window": st.fixed_dictionaries({"centre": st.integers(-1000, 100), "width": st.integers(1, 4000)}),
        "seed": st.integers(0, 2**31 - 1),
        "class_weights": st.booleans(),
    },
)


@given(values, values)
def test_ids_are_equal_exactly_where_the_content_is(left: dict, right: dict) -> None:
    one, other = Variant(**left), Variant(**right)
    assert (one.id == other.id) == (one == other)


def test_a_default_said_aloud_changes_no_id() -> None:
    assert Variant(window={"centre": -500, "width": 1500}, weight_decay=5e-4, epochs=50).id == Variant().id


def test_an_id_is_a_word_of_nine_letters() -> None:
    assert len(Variant().id) == 9
    assert Variant().id.startswith("v")


@given(values)
def test_a_variant_survives_its_document(given_values: dict) -> None:
    variant = Variant(**given_values)
    assert parse_variant(json.loads(json.dumps(variant.document()))["variant"], "x") == variant


def test_a_variant_is_read_from_its_file(tmp_path: Path) -> None:
    variant = Variant(rate=1e-3)
    assert load_variant(write_json(tmp_path / f"{variant.id}.variant.json", variant.document())) == variant


@pytest.mark.parametrize(
    ("change", "word"),
    [({"id": "v00000000"}, "changed by hand"), ({"schema_version": 99}, "99"), ({"variant": {"rat": 1}}, "'rat'")],
)
def test_a_file_changed_by_hand_is_refused(tmp_path: Path, change: dict, word: str) -> None:
    path = write_json(tmp_path / "v1.variant.json", {**Variant().document(), **change})
    with pytest.raises(ClaireError, match=word):
        load_variant(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json"])
def test_a_file_that_is_no_variant_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "v1.variant.json").write_text(content)
    with pytest.raises(ClaireError, match=r"v1\.variant\.json"):
        load_variant(tmp_path / "v1.variant.json")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, ["unknown key 'epoch'", "did you mean 'epochs'"]),
        ({"window": {"wide": 3}}, ["window.wide", "did you mean 'width'"]),
        ({"rate": 0}, ["rate", "greater than 0", "not 0"]),
        ({"rate": float("inf")}, ["rate", "finite"]),
        ({"size": 8}, ["size", "16", "not 8"]),
        ({"schedule": "linear"}, ["schedule", "'constant', 'step' or 'cosine'"]),
        ({"architecture": "resnet18"}, ["architecture", "torchvision:NAME"]),
        ({"architecture": "keras:ResNet"}, ["architecture", "torchvision:NAME"]),
        ({"pretraining": "imagenet"}, ["pretraining", "weights:NAME"]),
        ({"pretraining": "weights:../x"}, ["pretraining", "weights:NAME"]),
        ({"dimensions": "3D", "labels": "inherited"}, ["inherited", "2D"]),
        ({"dimensions": "3D", "normalisation": "slice"}, ["slice", "2D"]),
    ],
)
def test_a_wrong_value_is_named_with_what_it_may_be(values: dict, words: list[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_variant(values, "here")
    assert [word for word in ["here", *words] if word not in refusal.value.problem] == []
    assert "architecture" in refusal.value.remedy
