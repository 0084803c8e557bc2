"""Pictures of a scan, drawn where the policy allows it."""

from __future__ import annotations

import numpy as np

from claire.core.contracts.scans import ShardWriter
from claire.explain.lesions.candidates import smooth
from claire.explain.pictures import overlays
from claire.explain.scan import ScanResult, Setting

TITLES = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients", "healing": "Healing mask"}
NOT_RELIABLE = "Healing not reliable (gates closed): its mask is not shown."


def may_draw(one: ScanResult, policy: str) -> bool:
    """Return whether the policy lets pictures of this scan be drawn; only what is said to be a phantom is one."""
    return policy == "all" or (policy == "phantom" and one.case.scan.facts.get("phantom") is True)


def add(archive: ShardWriter, one: ScanResult, setting: Setting) -> list[str]:
    """Draw a scan's pictures into the archive; return their names."""
    if not may_draw(one, setting.parameters.images):
        return []
    page, scan = _page(one, setting), one.document["scan"]
    shown = {name: one.maps[name] for name in TITLES if name in one.maps and (name != "healing" or setting.reliable)}
    shown["integrated_gradients"] = smooth(np.maximum(shown["integrated_gradients"], 0), one.case.view, 3.0)
    drawn = {
        f"{scan}.lesions.png": overlays.draw_lesions(page),
        f"{scan}.saliency.png": overlays.draw_maps(page, {TITLES[name]: values for name, values in shown.items()}),
    }
    for name, content in drawn.items():
        archive.add(name, content)
    return list(drawn)


def _page(one: ScanResult, setting: Setting) -> overlays.Page:
    head, view = one.document, one.case.view
    title = (
        f"{head['scan']}: p = {head['probability']:.2f}, operating point {setting.chosen.operating_point:.2f}, "
        f"called {head['decision']}; label {head['label']} ({head['outcome']})"
    )
    numbers = [int(one.case.scan.slices[int(row)]) for row in view.rows]
    note = "" if setting.reliable else NOT_RELIABLE
    return overlays.Page(view, one.candidates.labels, head["lesions"], numbers, title, note)
