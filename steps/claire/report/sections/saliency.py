"""Which lesions decided: gates, methods, and one page per scan with pictures and ranked lesions."""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from claire.core.contracts.lesions import METHODS, ExplainedScan, Gate, Lesion, LesionsDocument
from claire.core.contracts.metrics import Figure
from claire.report.figures import lung_map
from claire.report.inputs import Inputs, read_pictures
from claire.report.sections.provenance import anchor
from claire.report.tables import Cell, Column, Table, chance, figure_cell, interval, number, table

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
PROPOSERS = METHODS | {"hu": "HU"}
#: Columns of the methods' table: heading and meaning.
MEASURES = {
    "outcome": ("Scans", "true and false positives are judged separately"),
    "deletion_auc": ("Deletion", "mean probability while the strongest voxels are removed; low is good"),
    "insertion_auc": ("Insertion", "mean probability while the strongest voxels are restored; high is good"),
    "gain_over_hu": ("Gain over the HU threshold", "insertion − deletion, less that of smoothed HU; above 0 is good"),
    "n": ("n", "patients"),
}


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI with its size in pixels, an alternative text and a caption."""

    source: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class ScanPage:
    """The content of the page about one explained scan."""

    anchor: str
    scan: str
    patient: str
    label: str
    run: str
    fold: int
    outcome: str
    outcome_text: str
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
    return bool(inputs.explained) and all(document.reliable for document in inputs.explained)


def closed_gates_text(inputs: Inputs) -> str:
    """Return the statement of `explain` on a fold with closed gates, without its first sentence."""
    statements = [document.statement for document in inputs.explained if not document.reliable]
    _, _, remark = next((text for text in statements if text), "").partition(". ")
    return remark or "Lesions are ranked by infills that are independent of the healing."


def gates(inputs: Inputs) -> Table:
    """Return the gates of every explained fold: value with limits, threshold, open or closed."""
    rows = [
        [
            document.fold,
            Cell(gate.name.replace("_", " "), note=gate.statement),
            _gate_value(gate),
            gate.threshold,
            gate.n,
            Cell("open", badge="good") if gate.open else Cell("closed", badge="bad"),
        ]
        for document in inputs.explained
        for gate in document.gates
    ]
    columns: list[Column | str] = [
        "Fold",
        "Gate",
        *(Column(name, True) for name in ("Value (95 %)", "Threshold", "n")),
        "State",
    ]
    note = "Gates fail closed: what cannot be measured, for instance for lack of scans, counts as closed."
    return table("Gates of the healing", columns, rows, note=note)


def _gate_value(gate: Gate) -> Cell:
    limits = interval(gate.lower, gate.upper)
    if not limits and gate.lower is not None:
        limits = f"at least {number(gate.lower)}"
    if not limits and gate.upper is not None:
        limits = f"at most {number(gate.upper)}"
    return Cell(number(gate.value), limits)


def methods(inputs: Inputs) -> Table:
    """Return the faithfulness of each method to the network in each fold."""
    columns: list[Column | str] = ["Fold", "Method"]
    columns += [Column(head, name != "outcome", meaning) for name, (head, meaning) in MEASURES.items()]
    rows = [
        [
            document.fold,
            METHODS[method.method],
            method.outcome,
            *map(_figure, (method.deletion_auc, method.insertion_auc, method.gain_over_hu)),
            method.n,
        ]
        for document in inputs.explained
        for method in document.methods
    ]
    note = "A method that does not beat the HU threshold shows nothing about the network."
    return table("Faithfulness of the saliency methods to the network", columns, rows, sortable=True, note=note)


def _figure(figure: Figure | None) -> Cell | None:
    return figure_cell(figure.value, figure.lower, figure.upper) if figure else None


def networks(inputs: Inputs) -> Table:
    """Return which network was explained in each fold."""
    rows = [
        [
            document.fold,
            Cell(document.run, link=anchor("run", document.run)),
            Cell(number(document.network.auc_validation)),
            Cell(number(document.network.operating_point)),
            Cell("yes" if document.network.refined else "no", document.network.refinement.reason),
        ]
        for document in inputs.explained
    ]
    columns: list[Column | str] = [
        "Fold",
        "Run",
        Column("AUC on validation", True),
        Column("Operating point", True),
        "Refined",
    ]
    return table("Explained networks", columns, rows)


def outcomes(inputs: Inputs) -> Counter[str]:
    """Count the explained scans by outcome."""
    return Counter(scan.outcome for document in inputs.explained for scan in document.scans)


def zones(inputs: Inputs, outcome: str) -> Markup | str:
    """Return a map of the zones in which crucial lesions of scans with this outcome lie; "" if there are none."""
    crucial_lesions: Counter[tuple[str, str]] = Counter(
        (lesion.side, lesion.zone)
        for document in inputs.explained
        for scan in document.scans
        if scan.outcome == outcome
        for lesion in scan.lesions
        if lesion.crucial
    )
    return (
        lung_map(crucial_lesions, f"Crucial lesions of scans that were {OUTCOMES[outcome]}, by side and zone")
        if crucial_lesions
        else ""
    )


def pages(inputs: Inputs, limit: int) -> list[ScanPage]:
    """Return one page per explained scan, errors first; at most `limit` pictures in all, also errors first."""
    order = list(OUTCOMES)
    explained_scans = [(document, scan) for document in inputs.explained for scan in document.scans]
    explained_scans.sort(key=lambda pair: (order.index(pair[1].outcome), pair[1].scan))
    scan_pages, pictures_left = [], limit
    for document, scan in explained_scans:
        page = _page(inputs, document, scan, pictures_left)
        pictures_left -= len(page.pictures)
        scan_pages.append(page)
    return scan_pages


def _page(inputs: Inputs, document: LesionsDocument, scan: ExplainedScan, limit: int) -> ScanPage:
    lesions, unmeasured = scan.lesions, scan.candidates_left_out
    shown, withheld = _pictures(inputs, document.run, scan, limit)
    counted: Counter[tuple[str, str]] = Counter((lesion.side, lesion.zone) for lesion in lesions)
    return ScanPage(
        anchor=anchor("scan", f"{document.run}-{scan.scan}"),
        scan=scan.scan,
        patient=scan.patient,
        label=scan.label,
        run=document.run,
        fold=document.fold,
        outcome=scan.outcome,
        outcome_text=OUTCOMES[scan.outcome],
        probability=chance(scan.probability),
        operating_point=number(document.network.operating_point),
        verdict=_verdict(lesions, scan.outcome, scan.explained_class, unmeasured),
        reliable=document.reliable,
        facts=_facts(inputs, scan.scan),
        pictures=shown,
        withheld=withheld,
        map=lung_map(counted, f"Candidate lesions of scan {scan.scan} by side and zone")
        if lesions and not shown
        else "",
        lesions=_lesions(lesions, unmeasured) if lesions else None,
    )


def _verdict(lesions: Sequence[Lesion], outcome: str, explained_class: str, unmeasured: int) -> str:
    crucial = sorted(lesion.rank for lesion in lesions if lesion.crucial)
    if not lesions:
        return "No candidate lesion was found."
    if outcome.endswith("N"):
        return f"Candidates are ranked by how strongly they support “{explained_class}”; none was enough for a call."
    if not crucial:
        supporting = sum(lesion.delta > 0 for lesion in lesions)
        return (
            f"The decision does not change even without all {supporting} candidates that support it: it rests "
            + (f"on some of the {unmeasured} candidates that were not measured, or " if unmeasured else "")
            + "on something else."
        )
    named = ", ".join(map(str, crucial))
    if len(crucial) == 1:
        which = f"One of {len(lesions)} candidate lesions" if len(lesions) > 1 else "The only candidate lesion"
        return f"{which} is crucial (rank {named}): without it the decision changes."
    together = f"{len(crucial)} of {len(lesions)} candidate lesions are crucial (ranks {named})"
    return f"{together}: without them the decision changes."


def _facts(inputs: Inputs, scan: str) -> list[tuple[str, str]]:
    row = inputs.scans.get(scan)
    if row is None:
        return []
    facts: tuple[tuple[str, str | float | None, str], ...] = (
        ("Slices kept", row.slices_kept, ""),
        ("Thickness", row.thickness_mm, " mm"),
        ("Kernel", row.kernel, ""),
        ("Right lung", row.right_ml, " ml"),
        ("Left lung", row.left_ml, " ml"),
    )
    return [
        (name, (value if isinstance(value, str) else number(value, 1)) + unit)
        for name, value, unit in facts
        if value not in (None, "")
    ]


def _pictures(inputs: Inputs, run: str, scan: ExplainedScan, limit: int) -> tuple[list[Picture], str]:
    name, file_names = scan.scan, scan.images
    if not inputs.shows(name):
        return [], f"Pictures are withheld by the policy --images {inputs.images}."
    if not file_names or run not in inputs.pictures:
        return [], "No pictures were made of this scan."
    if len(file_names) > limit:
        return [], "Pictures are left out to limit the size of this page; they are in the archive of overlays."
    contents = read_pictures(inputs.pictures[run], file_names)
    return [_picture(name, file, contents[file]) for file in file_names if file in contents], ""


def _picture(scan: str, file: str, content: bytes) -> Picture:
    kind = file.removeprefix(f"{scan}.").removesuffix(".png")
    caption = PICTURES.get(kind, kind.replace("_", " ").replace(".", " "))
    width, height = struct.unpack(">II", content[16:24])
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(source, width, height, f"{caption} of scan {scan}", caption)


def _lesions(lesions: Sequence[Lesion], unmeasured: int) -> Table:
    ordered = sorted(lesions, key=lambda lesion: (lesion.rank, lesion.id))
    more = len(ordered) - SHOWN_LESIONS
    columns: list[Column | str] = [
        Column("Rank", True, "1 = the lesion whose removal changes the network's output most; its interval below"),
        Column("Crucial", meaning="without the crucial lesions the decision turns"),
        Column("Location"),
        Column("Volume (ml)", True),
        Column("Mean HU", True),
        Column("Δ", True, "change of the log-odds: half of necessity plus sufficiency"),
        Column("Δp", True, "change of the probability when only this lesion is healed"),
        Column("Infills", meaning="whether all ways to fill the hole agree on the sign of Δ"),
        Column("Slice", True, "index in the ingested scan, from 0"),
        Column("Centre (mm)", True, "patient coordinates: left, posterior, superior"),
        Column("Found by"),
    ]
    notes = [f"{more} further lesions are in lesions.csv."] if more > 0 else []
    if unmeasured:
        notes.append(f"{unmeasured} further candidates, smaller or with less saliency, were not measured.")
    return table(
        "Lesions by what their removal does", columns, map(_lesion, ordered[:SHOWN_LESIONS]), note=" ".join(notes)
    )


def _lesion(lesion: Lesion) -> list[object]:
    low, high = lesion.rank_low, lesion.rank_high
    by_infill = ", ".join(f"{name} {number(value, 2)}" for name, value in sorted(lesion.delta_by_infill.items()))
    return [
        Cell(str(lesion.rank), f"{low} to {high}" if low != high else "", lesion.rank),
        Cell("crucial", badge="crucial") if lesion.crucial else Cell(""),
        Cell(f"{lesion.side} {lesion.zone}", note="part of a confluent opacity" if lesion.confluent else ""),
        Cell(number(lesion.volume_ml, 1)),
        Cell(_whole(lesion.mean_hu)),
        Cell(number(lesion.delta, 2)),
        Cell(number(lesion.delta_probability, 2)),
        Cell("agree" if lesion.infills_agree else "differ", by_infill),
        Cell(str(lesion.slice)),
        Cell(", ".join(map(_whole, lesion.centroid_lps_mm))),
        Cell(", ".join(PROPOSERS[name] for name in lesion.proposers)),
    ]


def _whole(value: float) -> str:
    return f"{value:.0f}".replace("-", "−")
