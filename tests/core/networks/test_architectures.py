"""Names of networks: those of the installed libraries, and near matches for others."""

from __future__ import annotations

import pytest
from claire.core.command.errors import UsageError
from claire.core.networks import architectures
from monai.networks import nets
from torchvision import models


def test_the_lists_of_names_are_those_of_the_libraries() -> None:
    assert models.list_models(module=models) == architectures.TORCHVISION_2D
    assert models.list_models(module=models.video) == architectures.TORCHVISION_3D
    assert [name for name in architectures.MONAI if not (hasattr(nets, name) or "efficientnet_b" in name)] == []


@pytest.mark.parametrize(
    ("architecture", "dimensions"),
    [("torchvision:resnet18", "2D"), ("torchvision:r3d_18", "3D"), ("monai:anything", "2D"), ("python:a.b:c", "3D")],
)
def test_a_name_that_may_exist_passes(architecture: str, dimensions: str) -> None:
    architectures.require_known(architecture, dimensions)


def test_a_2d_network_is_unknown_in_3d() -> None:
    with pytest.raises(UsageError, match="3D classification network 'resnet18'"):
        architectures.require_known("torchvision:resnet18", "3D")
