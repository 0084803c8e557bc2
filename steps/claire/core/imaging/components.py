"""Connected components of a mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected component of a boolean mask (faces touch), bool; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(np.argmax(sizes)))
