"""Pictures of a scan, drawn if the policy allows it."""

from __future__ import annotations

from claire.core.contracts.archive import ArchiveWriter
from claire.core.contracts.lesions import METHODS
from claire.core.privacy.pictures import may_show
from claire.explain.maps.attribution import as_regions
from claire.explain.pictures import overlays
from claire.explain.scan import ScanResult, Setting

NOT_RELIABLE = "Healing not reliable (gates closed): its mask is not shown."


def draw_pictures(archive: ArchiveWriter, result: ScanResult, setting: Setting) -> tuple[str, ...]:
    """Draw a scan's pictures into the archive; return their names."""
    if not may_show(setting.parameters.images, result.case.scan.phantom):
        return ()
    page, scan = _page(result, setting), result.explained.scan
    hidden = {"interventions"} if setting.reliable else {"interventions", "healing"}
    shown = {name: values for name, values in as_regions(result.maps, result.case).items() if name not in hidden}
    pictures = {
        f"{scan}.lesions.png": overlays.draw_lesions(page),
        f"{scan}.saliency.png": overlays.draw_maps(page, {METHODS[name]: values for name, values in shown.items()}),
    }
    for name, content in pictures.items():
        archive.add(name, content)
    return tuple(pictures)


def _page(result: ScanResult, setting: Setting) -> overlays.Page:
    scan, view, point = result.explained, result.case.view, setting.chosen.operating_point
    threshold = "the likeliest class is called" if point is None else f"operating point {point:.2f}"
    title = (
        f"{scan.scan}: p = {scan.probability:.2f}, {threshold}, "
        f"called {scan.decision}; label {scan.label} ({scan.outcome})"
    )
    numbers = [int(result.case.scan.slices[int(row)]) for row in view.rows]
    note = "" if setting.reliable else NOT_RELIABLE
    return overlays.Page(view, result.candidates.labels, scan.lesions, numbers, title, note)
