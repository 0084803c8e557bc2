"""Networks by name, their inputs and devices."""
