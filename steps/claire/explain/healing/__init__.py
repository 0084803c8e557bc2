"""The adversarial healer: a generator against a critic."""
