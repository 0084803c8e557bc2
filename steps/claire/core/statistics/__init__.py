"""Statistics of predictions, by patient: ranking, decisions, calibration, intervals, comparison.

Nothing here knows files, runs or variants. Resampled figures come from one matrix of weights (samples, patients) that
all variants share, so that differences are paired.
"""
