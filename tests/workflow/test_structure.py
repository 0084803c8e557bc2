"""One home for what several steps obey: constants, figures, rules and random state are defined once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from claire.core.contracts.variant import Variant, Window
from claire.core.imaging.volume import AIR_HU, PADDING_HU
from claire.core.networks.input import to_input, window
from claire.core.networks.view import apply_window
from claire.core.statistics.ranking import auc, macro_auc
from claire.evaluate.auc import combined_auc, count_pairs, stack_pairs
from claire.evaluate.samples import Sample
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

STEPS = Path(__file__).parents[2] / "steps/claire"
#: The phantom makes its own world: it must not share the pipeline's rules.
SOURCES = {
    path.relative_to(STEPS).as_posix(): path.read_text() for path in STEPS.rglob("*.py") if "phantom" not in path.parts
}


def files_with(pattern: str) -> set[str]:
    return {name for name, text in SOURCES.items() if re.search(pattern, text)}


def numbers(text: str) -> Iterator[float]:
    """Yield the numbers written in a module, signs included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            yield -node.operand.value


@pytest.mark.parametrize("value", [AIR_HU, PADDING_HU])
def test_air_and_padding_are_written_down_once(value: int) -> None:
    assert [name for name, text in SOURCES.items() if value in numbers(text)] == ["core/imaging/volume.py"]


@pytest.mark.parametrize("name", ["AIR_HU", "PADDING_HU", "MOST_BYTES", "REASONS", "METRICS"])
def test_a_constant_has_one_definition(name: str) -> None:
    assert len(files_with(rf"(?m)^(\w+, )*{name}(, \w+)*(: .+)? = ")) == 1


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"(?m)roc_auc_score|^def auc\b", {"core/statistics/ranking.py"}),
        (r"(?m)^def (decide|operating_points)\b", {"core/statistics/decisions.py"}),
        (r"\bdef (to_input|normalise|window)\b", {"core/networks/input.py"}),
        (r"\bdef largest\b", {"core/imaging/components.py"}),
        (r"\bdef (spacing_mm|voxel_ml)\(affine", {"core/imaging/affine.py"}),
        (r"\bdef may_show\(policy|== \"phantom\"", {"core/privacy/pictures.py"}),
        (r"signal\.signal\(", {"core/command/execute.py"}),
        (r"\bDevice\(torch", {"core/networks/devices.py"}),
        (r"torch\.autocast\(self\.", {"core/networks/devices.py"}),
        (r"hmac\.", {"core/privacy/pseudonym.py"}),
        (r"safetensors\.torch import .*\bsave", {"core/contracts/weights.py"}),
        (r"os\.umask", {"core/command/files.py"}),
    ],
)
def test_a_rule_has_one_home(pattern: str, home: set[str]) -> None:
    assert files_with(pattern) == home


def test_no_module_draws_from_a_global_random_state() -> None:
    assert (
        files_with(r"np\.random\.(seed|rand|randn|randint|normal|uniform|choice|shuffle)\(|\brandom\.seed\(") == set()
    )


def test_steps_import_no_other_step_and_core_imports_none() -> None:
    steps = {path.parent.name for path in STEPS.glob("*/__init__.py")} - {"core", "commands"}
    crossing = [
        (name, found)
        for name, text in SOURCES.items()
        for found in re.findall(r"(?m)^\s*(?:from|import) claire\.(\w+)", text)
        if found in steps and name.split("/")[0] not in (found, "commands", "__main__.py")
    ]
    assert crossing == []


scores_of_two = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40).filter(
    lambda drawn: len({positive for _, positive in drawn}) == 2
)


@given(scores_of_two)
def test_every_auc_of_the_pipeline_is_that_of_sklearn(drawn: list[tuple[int, bool]]) -> None:
    score, positive = np.array([s / 20 for s, _ in drawn]), np.array([p for _, p in drawn])
    expected = roc_auc_score(positive, score)
    probability, target = np.column_stack([1 - score, score]), positive.astype(int)
    sample = Sample(np.arange(len(score)), target, probability)
    pairs = stack_pairs([count_pairs(sample, np.ones((1, len(score))))])
    assert auc(score, positive) == pytest.approx(expected)
    assert macro_auc(probability, target) == pytest.approx(expected)
    assert combined_auc(*pairs) == pytest.approx([expected, expected])


@given(
    st.lists(st.integers(-2000, 3000), min_size=4, max_size=4),
    st.floats(-1000, 500),
    st.floats(1, 4000),
    st.sampled_from(["whole", "box", "lungs"]),
)
def test_hu_become_network_input_and_picture_by_one_window(
    hu: list[int], centre: float, width: float, view: str
) -> None:
    variant = Variant(window=Window(centre=centre, width=width), view=view)
    values = torch.tensor(hu).reshape(1, 2, 2)
    image = to_input(values, variant)
    np.testing.assert_allclose(image.numpy(), apply_window(values.numpy(), variant.window), atol=1e-3)
    np.testing.assert_allclose(image.numpy(), window(values.float(), variant).clamp(0, 1).numpy(), atol=1e-6)
