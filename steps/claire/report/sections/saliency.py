"""Which lesions decided: gates, methods, and a page a scan with pictures and ranked lesions."""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from claire.report.figures import lung_map
from claire.report.inputs import Document, Inputs, read_pictures
from claire.report.sections.provenance import anchor
from claire.report.tables import Cell, Column, Table, chance, floating, interval, number, table

NOT_RELIABLE = "healing not reliable"
OUTCOMES = {
    "FN": "missed (false negative)",
    "FP": "false alarm (false positive)",
    "TP": "found (true positive)",
    "TN": "rightly passed (true negative)",
}
SHOWN_LESIONS = 20
PICTURES = {
    "lesions": "Candidate lesions by rank, coloured by Δ; crucial ones are outlined thickly",
    "saliency": "Saliency maps",
}
METHODS = {
    "interventions": "interventions (remove and measure)",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "healing": "healing mask",
    "hu_smoothed": "HU threshold, smoothed",
    "hu_raw": "HU threshold, raw",
    "random": "random",
}
PROPOSERS = {"hu": "HU", "healing": "healing mask"}
#: Columns of the methods' table: heading and meaning.
MEASURES = {
    "outcome": ("Scans", "true and false positives are judged apart"),
    "deletion_auc": ("Deletion", "mean probability while the strongest voxels are removed; low is good"),
    "insertion_auc": ("Insertion", "mean probability while the strongest voxels are brought back; high is good"),
    "gain_over_hu": ("Gain over the HU threshold", "insertion − deletion, less that of smoothed HU; above 0 is good"),
    "n": ("n", "scans"),
}


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI with its size in pixels, what it shows in words and a caption."""

    source: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class ScanPage:
    """What the report says about one explained scan."""

    anchor: str
    scan: str
    patient: str
    label: str
    run: str
    fold: object
    outcome: str
    outcome_words: str
    probability: str
    operating_point: str
    verdict: str
    reliable: bool
    facts: Sequence[tuple[str, str]]
    pictures: Sequence[Picture]
    withheld: str
    map: Markup | str
    lesions: Table | None


def reliable(inputs: Inputs) -> bool:
    """Return whether all gates are open in all explained folds."""
    return bool(inputs.explained) and all(document.get("reliable") is True for document in inputs.explained)


def closed_words(inputs: Inputs) -> str:
    """Return what `explain` says about a fold whose gates are not all open, without repeating that they are closed."""
    said = [
        str(document.get("statement") or "") for document in inputs.explained if document.get("reliable") is not True
    ]
    _, _, words = next((text for text in said if text), "").partition(". ")
    return words or "Lesions are ranked by infills that are independent of the healing."


def gates(inputs: Inputs) -> Table:
    """Return the gates of every explained fold: value with limits, threshold, open or closed."""
    rows = [
        [
            document.get("fold"),
            Cell(str(gate.get("name", "")).replace("_", " "), note=str(gate.get("statement", ""))),
            _gate_value(gate),
            gate.get("threshold"),
            gate.get("n"),
            Cell("open", badge="good") if gate.get("open") is True else Cell("closed", badge="bad"),
        ]
        for document in inputs.explained
        for gate in document.get("gates", [])
    ]
    columns = ["Fold", "Gate", *(Column(name, True) for name in ("Value (95 %)", "Threshold", "n")), "State"]
    note = "Gates fail closed: what cannot be measured, for instance for want of scans, counts as closed."
    return table("Gates of the healing", columns, rows, note=note)


def _gate_value(gate: Mapping[str, Any]) -> Cell:
    lower, upper = gate.get("lower"), gate.get("upper")
    limits = interval(lower, upper)
    if not limits and floating(lower) is not None:
        limits = f"at least {number(lower)}"
    if not limits and floating(upper) is not None:
        limits = f"at most {number(upper)}"
    return Cell(number(gate.get("value")), limits)


def methods(inputs: Inputs) -> Table:
    """Return how faithful each method was to the network in each fold, in the columns that `explain` gave."""
    found = [(document.get("fold"), method) for document in inputs.explained for method in document.get("methods", [])]
    given = dict.fromkeys(name for _, method in found for name in method if name != "method")
    names = [name for name in MEASURES if name in given] + [name for name in given if name not in MEASURES]
    heads = {name: MEASURES.get(name, (name.replace("_", " "), "")) for name in names}
    columns = ["Fold", "Method", *(Column(heads[name][0], name != "outcome", heads[name][1]) for name in names)]
    rows = [
        [fold, _method(str(method.get("method", ""))), *(_plain(method.get(name)) for name in names)]
        for fold, method in found
    ]
    note = "A method that does not beat the HU threshold has shown nothing about the network."
    return table("Faithful to the network: methods of saliency", columns, rows, sortable=True, note=note)


def _method(name: str) -> str:
    return METHODS.get(name, name.replace("_", " "))


def _plain(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(number(item) if floating(item) is not None else str(item) for item in value)
    if isinstance(value, dict):
        return figure_of(value)
    return value


def figure_of(value: Mapping[str, Any]) -> Cell:
    """Return {value, lower, upper} as a cell."""
    parsed = floating(value.get("value"))
    return Cell(number(parsed), interval(value.get("lower"), value.get("upper")), parsed if parsed is not None else "")


def networks(inputs: Inputs) -> Table:
    """Return which network was explained in each fold."""
    rows = [
        [
            document.get("fold"),
            Cell(str(document.get("run")), link=anchor("run", str(document.get("run")))),
            Cell(number(network.get("auc_validation"))),
            Cell(number(network.get("operating_point"))),
            Cell("yes" if network.get("refined") else "no", str((network.get("refinement") or {}).get("reason") or "")),
        ]
        for document in inputs.explained
        for network in [document.get("network") or {}]
    ]
    columns = ["Fold", "Run", Column("AUC on validation", True), Column("Operating point", True), "Refined"]
    return table("Explained networks", columns, rows)


def outcomes(inputs: Inputs) -> Counter[str]:
    """Count the explained scans by outcome."""
    return Counter(str(scan.get("outcome")) for document in inputs.explained for scan in document.get("scans", []))


def zones(inputs: Inputs, outcome: str) -> Markup | str:
    """Return a map of the zones in which crucial lesions of scans with this outcome lie; "" where there is none."""
    found = Counter(
        (str(lesion.get("side")), str(lesion.get("zone")))
        for document in inputs.explained
        for scan in document.get("scans", [])
        if scan.get("outcome") == outcome
        for lesion in scan.get("lesions", [])
        if lesion.get("crucial")
    )
    return lung_map(found, f"Crucial lesions of scans that were {OUTCOMES[outcome]}, by side and zone") if found else ""


def pages(inputs: Inputs, limit: int) -> list[ScanPage]:
    """Return a page an explained scan, errors first; at most `limit` pictures, those of errors before the others."""
    order = list(OUTCOMES)
    found = [(document, scan) for document in inputs.explained for scan in document.get("scans", [])]
    found.sort(key=lambda pair: (_place(order, str(pair[1].get("outcome"))), str(pair[1].get("scan"))))
    made, left = [], limit
    for document, scan in found:
        page = _page(inputs, document, scan, left)
        left -= len(page.pictures)
        made.append(page)
    return made


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _page(inputs: Inputs, document: Document, scan: Document, limit: int) -> ScanPage:
    name, outcome, run = str(scan.get("scan")), str(scan.get("outcome")), str(document.get("run"))
    lesions, unmeasured = scan.get("lesions", []), int(scan.get("candidates_left_out") or 0)
    point = document.get("network", {}).get("operating_point")
    shown, withheld = _pictures(inputs, run, scan, limit)
    counted = Counter((str(lesion.get("side")), str(lesion.get("zone"))) for lesion in lesions)
    return ScanPage(
        anchor=anchor("scan", f"{run}-{name}"),
        scan=name,
        patient=str(scan.get("patient", "")),
        label=str(scan.get("label", "")),
        run=run,
        fold=document.get("fold"),
        outcome=outcome,
        outcome_words=OUTCOMES.get(outcome, outcome),
        probability=chance(scan.get("probability")),
        operating_point=number(point),
        verdict=_verdict(lesions, outcome, str(scan.get("explained_class") or scan.get("decision") or ""), unmeasured),
        reliable=document.get("reliable") is True,
        facts=_facts(inputs, name),
        pictures=shown,
        withheld=withheld,
        map=lung_map(counted, f"Candidate lesions of scan {name} by side and zone") if lesions and not shown else "",
        lesions=_lesions(lesions, unmeasured) if lesions else None,
    )


def _verdict(lesions: Sequence[Mapping[str, Any]], outcome: str, explained_class: str, unmeasured: int) -> str:
    crucial = sorted(lesion.get("rank", 0) for lesion in lesions if lesion.get("crucial"))
    if not lesions:
        return "No candidate lesion was found."
    if outcome.endswith("N"):
        return f"Candidates are ranked by how far they speak for “{explained_class}”; none was enough for a call."
    if not crucial:
        supporting = sum((floating(lesion.get("delta")) or 0) > 0 for lesion in lesions)
        return (
            f"Not even without all {supporting} candidates that speak for it does the decision turn: it rests "
            + (f"on some of the {unmeasured} candidates that were not measured, or " if unmeasured else "")
            + "on something else besides."
        )
    named = ", ".join(map(str, crucial))
    if len(crucial) == 1:
        return f"One of {len(lesions)} candidate lesions is crucial (rank {named}): without it the decision turns."
    together = f"{len(crucial)} of {len(lesions)} candidate lesions are crucial (ranks {named})"
    return f"{together}: without them the decision turns."


def _facts(inputs: Inputs, scan: str) -> list[tuple[str, str]]:
    row = inputs.scans.get(scan, {})
    facts = (
        ("Slices kept", row.get("slices_kept"), ""),
        ("Thickness", row.get("thickness_mm"), " mm"),
        ("Kernel", row.get("kernel"), ""),
        ("Right lung", row.get("right_ml"), " ml"),
        ("Left lung", row.get("left_ml"), " ml"),
    )
    return [
        (name, (number(value, 1) if floating(value) is not None else value) + unit)
        for name, value, unit in facts
        if value
    ]


def _pictures(inputs: Inputs, run: str, scan: Document, limit: int) -> tuple[list[Picture], str]:
    name, wanted = str(scan.get("scan")), [str(picture) for picture in scan.get("images") or []]
    if not inputs.may_show(name):
        return [], f"Pictures are withheld by the policy --images {inputs.images}."
    if not wanted or run not in inputs.pictures:
        return [], "No pictures were made of this scan."
    if len(wanted) > limit:
        return [], "Pictures are left out for the size of this page; they lie in the archive of overlays."
    found = read_pictures(inputs.pictures[run], wanted)
    return [_picture(name, file, found[file]) for file in wanted if file in found], ""


def _picture(scan: str, file: str, content: bytes) -> Picture:
    what = file.removeprefix(f"{scan}.").removesuffix(".png")
    caption = PICTURES.get(what, what.replace("_", " ").replace(".", " "))
    width, height = struct.unpack(">II", content[16:24])
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(source, width, height, f"{caption} of scan {scan}", caption)


def _lesions(lesions: Sequence[Mapping[str, Any]], unmeasured: int) -> Table:
    ordered = sorted(lesions, key=lambda lesion: (lesion.get("rank") or 0, str(lesion.get("id"))))
    more = len(ordered) - SHOWN_LESIONS
    columns = [
        Column("Rank", True, "1 = the lesion whose removal changes the network's output most; its interval below"),
        Column("Crucial", meaning="without the crucial lesions the decision turns"),
        Column("Place"),
        Column("Volume (ml)", True),
        Column("Mean HU", True),
        Column("Δ", True, "change of the log-odds: half of necessity plus sufficiency"),
        Column("Δp", True, "change of the probability when only this lesion is healed"),
        Column("Infills", meaning="whether all ways to fill the hole agree on the sign of Δ"),
        Column("Slice", True, "index in the ingested scan, from 0"),
        Column("Centre (mm)", True, "patient coordinates: left, posterior, superior"),
        Column("Found by"),
    ]
    notes = [f"{more} further lesions stand in lesions.csv."] if more > 0 else []
    if unmeasured:
        notes.append(f"{unmeasured} further candidates, smaller or with less saliency, were not measured.")
    return table(
        "Lesions by what their removal does", columns, map(_lesion, ordered[:SHOWN_LESIONS]), note=" ".join(notes)
    )


def _lesion(lesion: Mapping[str, Any]) -> list[object]:
    low, high = lesion.get("rank_low"), lesion.get("rank_high")
    place = f"{lesion.get('side', '')} {lesion.get('zone', '')}".strip()
    centre = ", ".join(f"{value:.0f}".replace("-", "−") for value in lesion.get("centroid_lps_mm") or [])
    infills = {True: "agree", False: "differ"}.get(lesion.get("infills_agree"), "")  # type: ignore[arg-type]
    by_infill = lesion.get("delta_by_infill") or {}
    return [
        Cell(str(lesion.get("rank", "")), f"{low} to {high}" if low != high else "", floating(lesion.get("rank"))),
        Cell("crucial", badge="crucial") if lesion.get("crucial") else Cell(""),
        Cell(place, note="part of a confluent opacity" if lesion.get("confluent") else ""),
        Cell(number(lesion.get("volume_ml"), 1)),
        Cell(_whole(lesion.get("mean_hu"))),
        Cell(number(lesion.get("delta"), 2)),
        Cell(number(lesion.get("delta_probability"), 2)),
        Cell(infills, ", ".join(f"{name} {number(value, 2)}" for name, value in sorted(by_infill.items()))),
        Cell(str(lesion.get("slice", ""))),
        Cell(centre),
        Cell(", ".join(PROPOSERS.get(str(name), _method(str(name))) for name in lesion.get("proposers") or [])),
    ]


def _whole(value: object) -> str:
    parsed = floating(value)
    return "–" if parsed is None else f"{parsed:.0f}".replace("-", "−")
