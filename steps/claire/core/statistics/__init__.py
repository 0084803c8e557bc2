"""Statistics of predictions, by patient: ranking, decisions, intervals.

This package does not depend on files, runs or variants. Resampled figures come from one matrix of weights (samples,
patients) that all variants share, so that differences are paired.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
