"""What a step is made of: its own imports, nothing of other steps."""

from __future__ import annotations

import pytest
from claire.core.command.listing import STEPS
from claire.core.command.sources import ROOT, step_files, step_hash, step_libraries


def names(step: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in step_files(step)}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_holds_its_own_modules_and_no_other_step(step: str) -> None:
    packages = {name.partition("/")[0] for name in names(step)}
    assert f"{step}/work.py" in names(step)
    assert packages & {*STEPS} == {step}


def test_imports_of_imports_count() -> None:
    assert {"train/training.py", "core/networks/build.py", "core/networks/healed.py"} <= names("train")


def test_words_of_the_report_are_of_the_report_alone() -> None:
    assert any(name.endswith(".html") for name in names("report"))
    assert not any("report" in name for name in names("train"))
    assert len({step_hash(step) for step in STEPS}) == len(STEPS)


def test_the_libraries_of_a_training_count_and_carriers_do_not() -> None:
    assert {"torch", "numpy"} <= {*step_libraries("train")}
    assert "torch" not in step_libraries("segment")
    assert "pydantic" not in step_libraries("train")
