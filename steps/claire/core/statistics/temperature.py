"""Temperature scaling: one number that makes probabilities as confident as they are right (Guo 2017, arXiv:1706.04599).

The order of decisions stays as it was. With inverse temperature β the log loss is convex, so its minimum is where its
slope changes sign; where it never does there is no temperature.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from claire.core.statistics import FloatArray, IntArray

#: Temperatures that count as found; beyond them the classes are separated, or the scores say nothing.
COLDEST, HOTTEST = 0.05, 20.0
_SMALLEST = 1e-7


def fit_temperature(probability: FloatArray, target: IntArray) -> float | None:
    """Return the temperature that minimises the log loss of items: probabilities (n, classes), class indices (n,).

    None where it cannot be identified: one class only, classes that the scores separate, scores that say nothing or
    the contrary.
    """
    if len(np.unique(target)) < 2:
        return None
    scores = _log(probability)
    centred = scores - scores[np.arange(len(target)), target][:, None]

    def slope(inverse: float) -> float:
        """The derivative of the log loss by the inverse temperature."""
        tempered = _softmax(inverse * scores)
        return float((tempered * centred).sum(axis=1).mean())

    if slope(1 / HOTTEST) >= 0 or slope(1 / COLDEST) <= 0:
        return None
    return float(1 / brentq(slope, 1 / HOTTEST, 1 / COLDEST))


def temper(probability: FloatArray, temperature: float | None) -> FloatArray:
    """Return probabilities (…, classes) at a temperature; unchanged for None."""
    return probability if temperature is None else _softmax(_log(probability) / temperature)


def _log(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.clip(probability, _SMALLEST, 1)))


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
