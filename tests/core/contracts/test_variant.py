"""`<id>.variant.json`: content ids, documents, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import write_json
from claire.core.contracts.variant import Variant, VariantDocument, parse_variant, read_variant, write_variant
from hypothesis import given
from hypothesis import strategies as st

settings = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": st.floats(1e-8, 1),
        "weight_decay": st.floats(0, 1),
        "size": st.integers(16, 1024),
        "pooling": st.sampled_from(["attention", "topk", "mean", "max"]),
        "window": st.fixed_dictionaries({"centre": st.integers(-1000, 100), "width": st.integers(1, 4000)}),
        "seed": st.integers(0, 2**31 - 1),
        "class_weights": st.booleans(),
    },
)


@given(settings, settings)
def test_ids_are_equal_exactly_where_the_content_is(left: dict, right: dict) -> None:
    first, second = Variant(**left), Variant(**right)
    assert (first.id == second.id) == (first == second)


def test_an_explicit_default_changes_no_id() -> None:
    assert Variant(window={"centre": -500, "width": 1500}, weight_decay=5e-4, epochs=50).id == Variant().id


def test_an_id_has_nine_characters() -> None:
    assert len(Variant().id) == 9
    assert Variant().id.startswith("v")


@given(settings)
def test_a_variant_survives_its_document(values: dict) -> None:
    variant = Variant(**values)
    assert parse_variant(json.loads(VariantDocument.of(variant).to_json())["variant"], "x") == variant


def test_a_variant_is_read_from_its_file(tmp_path: Path) -> None:
    variant = Variant(learning_rate=1e-3)
    assert read_variant(write_variant(tmp_path / f"{variant.id}.variant.json", variant)) == variant


@pytest.mark.parametrize(
    ("change", "part"),
    [({"id": "v00000000"}, "changed by hand"), ({"schema_version": 99}, "99"), ({"variant": {"rat": 1}}, "rat")],
)
def test_a_file_changed_by_hand_is_refused(tmp_path: Path, change: dict, part: str) -> None:
    path = write_json(tmp_path / "v1.variant.json", {**VariantDocument.of(Variant()).model_dump(mode="json"), **change})
    with pytest.raises(ClaireError, match=part):
        read_variant(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json"])
def test_a_file_that_is_not_a_variant_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "v1.variant.json").write_text(content)
    with pytest.raises(ClaireError, match=r"v1\.variant\.json"):
        read_variant(tmp_path / "v1.variant.json")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"epoch": 3}, ["unknown key 'epoch'", "did you mean 'epochs'"]),
        ({"window": {"wide": 3}}, ["window.wide", "did you mean 'width'"]),
        ({"rate": 0}, ["unknown key 'rate'", "did you mean 'learning_rate'?"]),
        ({"batch": 1}, ["unknown key 'batch'", "did you mean 'batch_size'?"]),
        ({"learning_rate": 0}, ["learning_rate", "greater than 0", "got 0"]),
        ({"learning_rate": float("inf")}, ["learning_rate", "finite"]),
        ({"size": 8}, ["size", "16", "got 8"]),
        ({"schedule": "linear"}, ["schedule", "'constant', 'step' or 'cosine'"]),
        ({"architecture": "resnet18"}, ["architecture", "torchvision:NAME"]),
        ({"architecture": "keras:ResNet"}, ["architecture", "torchvision:NAME"]),
        ({"pretraining": "imagenet"}, ["pretraining", "weights:NAME"]),
        ({"pretraining": "weights:../x"}, ["pretraining", "weights:NAME"]),
        ({"dimensions": "3D", "labels": "inherited"}, ["inherited", "2D"]),
        ({"dimensions": "3D", "normalisation": "slice"}, ["slice", "2D"]),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(values: dict, parts: list[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_variant(values, "here")
    assert [part for part in ["here", *parts] if part not in refusal.value.problem] == []
    assert "architecture" in refusal.value.remedy
