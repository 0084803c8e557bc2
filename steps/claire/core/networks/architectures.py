"""Names of the networks that can be built from a variant, known without importing the libraries that build them.

A wrong name in a grid is thus reported before any data are read. A test compares the lists with the libraries.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from claire.core.command.errors import UsageError
from claire.core.command.files import sha256_file

TORCHVISION_2D = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf
regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf
regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50
resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13
vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
""".split()  # noqa: SIM905
TORCHVISION_3D = "mc3_18 mvit_v1_b mvit_v2_s r2plus1d_18 r3d_18 s3d swin3d_b swin3d_s swin3d_t".split()  # noqa: SIM905
#: Classifiers in 2D and 3D, to name near matches; MONAI has more, and only `train` can check whether they classify.
MONAI = """
DenseNet121 DenseNet169 DenseNet201 DenseNet264 SENet154 SEResNeXt101 SEResNeXt50 SEResNet101 SEResNet152 SEResNet50
resnet10 resnet18 resnet34 resnet50 resnet101 resnet152 resnet200 efficientnet_b0 efficientnet_b1 efficientnet_b2
efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_b8
""".split()  # noqa: SIM905


def known_names(library: str, dimensions: str) -> list[str]:
    """Return the names that `library` (torchvision, monai) has for 2D or 3D classification."""
    if library == "monai":
        return MONAI
    return TORCHVISION_2D if dimensions == "2D" else TORCHVISION_3D


def unknown_network(architecture: str, dimensions: str) -> UsageError:
    """Return the error for a name that a library does not have, with the nearest known names."""
    library, _, name = architecture.partition(":")
    names = {known.lower(): known for known in known_names(library, dimensions)}
    nearest = get_close_matches(name.lower(), names, n=4, cutoff=0.5) or sorted(names)[:6]
    return UsageError(
        f"{library} has no {dimensions} classification network '{name}'",
        f"Name one that it has, such as {', '.join(f'{library}:{names[near]}' for near in nearest)}.",
    )


def require_known(architecture: str, dimensions: str) -> None:
    """Raise UsageError if torchvision has no such network; `monai:` and `python:` are checked only by `train`."""
    library, _, name = architecture.partition(":")
    if library == "torchvision" and name not in known_names(library, dimensions):
        raise unknown_network(architecture, dimensions)


def own_source(architecture: str) -> str | None:
    """Return the SHA-256 of the module of `python:module:factory`; None for networks of a library."""
    library, _, name = architecture.partition(":")
    if library != "python":
        return None
    try:
        spec = find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return sha256_file(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).is_file() else None
