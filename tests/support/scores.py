"""Synthetic scores of two classes."""

from __future__ import annotations

import numpy as np

LABELS = np.array([0, 1] * 20, bool)


def scores(gap: float, seed: int = 0, labels: np.ndarray = LABELS, decimals: int = 9) -> np.ndarray:
    """Return scores (n,) whose logits are normal, `gap` standard deviations between the classes, rounded."""
    raw = np.random.default_rng(seed).normal(gap * labels, 1)
    return np.round(1 / (1 + np.exp(-raw)), decimals)
