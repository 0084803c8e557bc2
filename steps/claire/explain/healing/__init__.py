"""The healer: trained, judged, gated."""
