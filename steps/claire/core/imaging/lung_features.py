"""Numbers that describe the prepared voxels of a scan, for comparing it with a cohort."""

from __future__ import annotations

import numpy as np

from claire.core.imaging.opacities import Spacing

#: Percentiles of HU in the lungs.
PERCENTILES = (5, 25, 50, 75, 95)
#: HU of opacities that are no vessels or consolidations alone.
OPACITY_HU = (-700, -200)
#: Voxels of the lungs from which the percentiles are computed at most: an even sample of all.
MOST_VOXELS = 200_000


def lung_features(hu: np.ndarray, lungs: np.ndarray, spacing_mm: Spacing) -> dict[str, float]:
    """Return features of a scan's prepared voxels: `hu` and `lungs` (slices, rows, columns), spacing along these in mm.

    `field_mm`: width of the crop; `lung_ml`: lung in the kept slices; `hu_pNN`: percentiles in the lungs;
    `opacity_share`: share of lung from −700 to −200 HU. Without lung only the first two.
    """
    inside = hu[lungs > 0]
    features = {
        "field_mm": hu.shape[2] * spacing_mm[2],
        "lung_ml": inside.size * float(np.prod(spacing_mm)) / 1000,
    }
    if inside.size:
        sample = inside[:: -(-inside.size // MOST_VOXELS)]
        values = np.percentile(sample, PERCENTILES)
        features |= {f"hu_p{p:02d}": float(value) for p, value in zip(PERCENTILES, values, strict=True)}
        low, high = OPACITY_HU
        features["opacity_share"] = float(np.mean((inside >= low) & (inside <= high)))
    return features
