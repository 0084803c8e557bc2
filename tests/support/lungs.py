"""Two lungs on a coarse prepared grid, with opacities set in by hand, as arrays or as a case of a network."""

from __future__ import annotations

import numpy as np
import torch
from claire.core.contracts.cohort import Cohort, Scan
from claire.core.contracts.variant import Variant
from claire.explain.probe import Case, make_case

SHAPE = (12, 40, 40)
#: (slice, row, column) in mm.
SPACING = (5.0, 4.0, 4.0)
VOXEL_ML = 0.08
#: Six by six by three voxels in the left lung: 8.6 ml.
SPOT = np.s_[2:5, 12:18, 24:30]


def two_lungs(*spots: tuple[tuple[slice | int, ...] | slice, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return (hu, lungs): two lungs of −850 HU in soft tissue, the patient's right in the low columns."""
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[:, 8:32, 4:18], lungs[:, 8:32, 22:36] = 1, 2
    hu = np.where(lungs > 0, -850.0, 40.0)
    for place, value in spots:
        inside = lungs[place] > 0
        hu[place] = np.where(inside, value, hu[place])
    return hu.astype(np.float32), lungs


def affine(turn: np.ndarray | None = None) -> np.ndarray:
    """Return the affine of the grid: columns to the left, rows to the back, slices to the head; or `turn`ed."""
    plain = np.diag([-4.0, -4.0, 5.0, 1.0])
    return plain if turn is None else plain @ turn


def make_scan(**changes: object) -> Scan:
    """Return a scan whose kept slices are 100 to 111 of 200."""
    fields: dict[str, object] = {
        "scan": "S1", "patient": "P1", "label": "positive", "first": 0, "count": SHAPE[0],
        "slices": tuple(range(100, 100 + SHAPE[0])), "slice_labels": (-1,) * SHAPE[0], "affine": affine(),
        "slice_positions_mm": tuple(5.0 * z for z in range(SHAPE[0])), "crop": (0, 40, 0, 40),
        "original_shape": (200, 40, 40),
    }  # fmt: skip
    return Scan.model_validate(fields | changes)


def case_of(hu: np.ndarray, lungs: np.ndarray, variant: Variant | None = None, **changes: object) -> Case:
    """Return a scan of these prepared voxels as a network of `variant` sees it; by default as they are."""
    size, count = hu.shape[1], hu.shape[0]
    seen = variant or Variant(architecture="python:x:y", view="whole", size=size, slices=count)
    scan = make_scan(count=count, **changes)
    cohort = Cohort((scan,), ("negative", "positive"), "", np.rint(hu).astype(np.int16), lungs)
    return make_case(cohort, scan, seen)


class Dense:
    """Stands for a network: the log-odds rise with each ml of dense lung, on one side more than on the other."""

    slicewise = False

    def __init__(self, right: float = 0.2, left: float = 0.2, bias: float = -2.0) -> None:
        self.right, self.left, self.bias = right, left, bias

    def evaluate(self, volumes: list[torch.Tensor], lungs: torch.Tensor) -> np.ndarray:
        """Return logits (n, 2) of views."""
        odds = [self.bias + sum(w * float(self._ml(hu, part)) for w, part in self._sides(lungs)) for hu in volumes]
        return np.column_stack([np.zeros(len(odds)), odds])

    def scan_logits(self, case: Case) -> np.ndarray:
        """Return logits (2,) of a scan."""
        logits: np.ndarray = self.evaluate([case.hu], case.lungs)[0]
        return logits

    def _sides(self, lungs: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        low = torch.arange(lungs.shape[-1]) < lungs.shape[-1] / 2
        return [(self.right, lungs & low), (self.left, lungs & ~low)]

    @staticmethod
    def _ml(hu: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        return VOXEL_ML * ((hu + 850).clamp(0, 500) / 500)[inside].sum()
