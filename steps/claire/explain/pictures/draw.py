"""Pictures of a scan, drawn if the policy allows it."""

from __future__ import annotations

from claire.core.contracts.archive import ArchiveWriter
from claire.core.contracts.lesions import METHODS
from claire.core.privacy.pictures import may_show
from claire.explain.documents import shown_labels
from claire.explain.lesions.candidates import smoothed
from claire.explain.pictures import overlays
from claire.explain.scan import ScanResult, Setting

#: Methods that have no picture of their own: the ranking is drawn as outlines, the baselines need none.
UNDRAWN = {"interventions", "hu_smoothed", "hu_raw", "random", "edges"}


def draw_pictures(archive: ArchiveWriter, result: ScanResult, setting: Setting) -> tuple[str, ...]:
    """Draw a scan's pictures into the archive; return their names."""
    if not may_show(setting.parameters.images, result.case.scan.phantom):
        return ()
    page, scan, case = make_page(result, setting), result.explained.scan, result.case
    maps = {
        METHODS[name]: case.projection.back(smoothed(values, case))
        for name, values in result.maps.items()
        if name not in UNDRAWN
    }
    pictures = {f"{scan}.lesions.png": overlays.draw_lesions(page)}
    if maps:
        pictures[f"{scan}.saliency.png"] = overlays.draw_maps(page, maps)
    for name, content in pictures.items():
        archive.add(name, content)
    return tuple(pictures)


def make_page(result: ScanResult, setting: Setting) -> overlays.Page:
    """Return what the pictures of a scan show."""
    scan, case, point = result.explained, result.case, setting.chosen.operating_point
    threshold = "the likeliest class is called" if point is None else f"operating point {point:.2f}"
    after = scan.probability_without
    if after is None:
        after = scan.background.probability if scan.background else None
    called = f", called {scan.decision}" if scan.label or setting.better else ""
    removed = "the crucial lesions" if scan.probability_without is not None else "all opacities"
    return overlays.Page(
        hu=case.prepared_hu,
        healed=result.healed,
        lungs=case.prepared_lungs,
        labels=shown_labels(result),
        lesions=scan.lesions,
        affine=case.scan.affine,
        slice_numbers=case.scan.slices,
        positions_mm=case.scan.slice_positions_mm,
        title=f"{scan.scan}: p = {scan.probability:.2f}, {threshold}{called}"
        + (f"; label {scan.label} ({scan.outcome})" if scan.label else ""),
        healed_title="healed" if after is None else f"without {removed}: p = {after:.2f}",
        note=scan.sentence,
    )
