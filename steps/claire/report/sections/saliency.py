"""Which lesions decided: gates, methods, and one page per scan with pictures and ranked lesions."""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from claire.core.contracts.gates import Gate
from claire.core.contracts.gates import gates as judge_gates
from claire.core.contracts.gates import reliable as gates_are_open
from claire.core.contracts.lesions import METHODS, ExplainedScan, Lesion, LesionsDocument
from claire.core.contracts.metrics import Figure
from claire.report.figures import lung_map
from claire.report.inputs import Inputs, read_pictures
from claire.report.sections.provenance import anchor
from claire.report.tables import Cell, Column, Table, chance, figure_cell, interval, number, table

OUTCOMES = {
    "FN": "missed (false negative)",
    "FP": "false alarm (false positive)",
    "TP": "found (true positive)",
    "TN": "rightly passed (true negative)",
}
SHOWN_LESIONS = 20
SHOWN_PAIRS = 6
PICTURES = {
    "lesions": "As it is, with its lesions (crucial ones thick, coloured by Δ), and healed",
    "saliency": "Saliency maps",
}
PROPOSERS = METHODS | {"hu": "HU"}
#: Columns of the methods' table: heading and meaning.
MEASURES = {
    "outcome": ("Scans", "true and false positives are judged separately"),
    "deletion_auc": ("Deletion", "log-odds left while lesions are removed, 1 at first, 0 without any; low is good"),
    "insertion_auc": (
        "Insertion",
        "log-odds reached while lesions are restored, 0 without any, 1 at last; high is good",
    ),
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
    decision: str
    verdict: str
    background: str
    facts: Sequence[tuple[str, str]]
    pictures: Sequence[Picture]
    withheld: str
    map: Markup | str
    lesions: Table | None
    interactions: Table | None


def reliable(inputs: Inputs) -> bool:
    """Return whether all gates are open, judged on all explained folds together."""
    return gates_are_open(pooled_gates(inputs))


def pooled_gates(inputs: Inputs) -> tuple[Gate, ...]:
    """Return the gates of the explained folds of the variant, pooled: each patient validates one fold."""
    return judge_gates([document.evidence for document in inputs.explained]) if inputs.explained else ()


def gates_text(inputs: Inputs) -> str:
    """Return what the pooled gates say, in plain words."""
    judged = pooled_gates(inputs)
    closed = [gate for gate in judged if not gate.open]
    if not closed:
        return "The question which lesions decided has an answer for this network: every gate is open."
    unmeasured = [gate for gate in closed if gate.n < gate.needed]
    names = ", ".join(gate.name.replace("_", " ") for gate in closed)
    text = f"Not reliable: {len(closed)} of {len(judged)} gates are closed ({names})."
    if unmeasured:
        text += f" {len(unmeasured)} of them for lack of patients, which is inconclusive."
    return text


def gates(inputs: Inputs) -> Table:
    """Return the pooled gates: value with exact limits, threshold, patients there are and needed, open or closed."""
    rows = [
        [
            Cell(gate.name.replace("_", " "), note=gate.statement),
            _gate_value(gate),
            gate.threshold,
            gate.n,
            gate.needed,
            Cell("open", badge="good") if gate.open else Cell("closed", badge="bad"),
        ]
        for gate in pooled_gates(inputs)
    ]
    columns: list[Column | str] = [
        "Gate",
        *(Column(name, True) for name in ("Value (95 %)", "Threshold", "n")),
        Column("Needed", True, "fewest patients with which the gate can open"),
        "State",
    ]
    folds = len(inputs.explained)
    note = (
        f"Pooled over {folds} explained fold{'s' * (folds > 1)}, each network on its own validation patients, exact "
        "limits. Gates fail closed: what cannot be measured, for instance for lack of patients, counts as closed."
    )
    return table("Gates", columns, rows, note=note)


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
    note = (
        "Whole lesions are removed and restored in the order of each method. A method that does not beat the HU "
        "threshold shows nothing about the network. Whether a ranking is plausible to readers needs masks of readers, "
        "and is not established on patients."
    )
    return table("Faithful to the network", columns, rows, sortable=True, note=note)


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


def insertions(inputs: Inputs) -> Table:
    """Return the insertion audit of each fold: lesions set into lungs called negative."""
    rows = [
        [
            document.fold,
            cell.level if cell.axis == "all" else f"{cell.axis}: {cell.level}",
            cell.n,
            _figure(cell.turned),
            number(cell.rise, 2),
        ]
        for document in inputs.explained
        if document.insertion
        for cell in document.insertion.cells
    ]
    turning = [
        f"fold {document.fold}: "
        + (f"{document.insertion.turning_ml:.0f} ml" if document.insertion.turning_ml is not None else "not reached")
        for document in inputs.explained
        if document.insertion
    ]
    columns: list[Column | str] = [
        "Fold",
        "Place",
        Column("n", True, "lesions set in"),
        Column("Calls that turn", True, "share of the insertions after which the scan is called positive"),
        Column("Rise", True, "mean rise of the log-odds"),
    ]
    note = (
        "Single lesions of scans called positive, set into lungs called negative. Volume, set in lesion by lesion, at "
        f"which half of the scans are called: {'; '.join(turning)}."
    )
    return table("Insertion audit: what is enough for a call", columns, rows, note=note)


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
        decision=scan.decision,
        verdict=scan.sentence,
        background=_background(scan),
        facts=_facts(inputs, scan.scan),
        pictures=shown,
        withheld=withheld,
        map=lung_map(counted, f"Candidate lesions of scan {scan.scan} by side and zone")
        if lesions and not shown
        else "",
        lesions=_lesions(lesions, unmeasured) if lesions else None,
        interactions=_interactions(scan),
    )


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


def _background(scan: ExplainedScan) -> str:
    """Return what stays without any lesion, in words."""
    if scan.background is None:
        return ""
    share = scan.background.share
    part = "" if share is None else f", {100 * max(share, 0.0):.0f} % of what speaks for the call"
    return f"Without any opacity: p {number(scan.background.probability, 2)}, called {scan.background.decision}{part}."


def _lesions(lesions: Sequence[Lesion], unmeasured: int) -> Table:
    more = len(lesions) - SHOWN_LESIONS
    columns: list[Column | str] = [
        Column("Rank", True, "1 = the lesion whose removal changes the network's output most; its interval below"),
        Column("Crucial", meaning="without the crucial lesions the decision turns"),
        Column("Location"),
        Column("Volume (ml)", True),
        Column("Mean HU", True),
        Column(
            "Δ", True, "change of the log-odds: half of necessity plus sufficiency; below it the noise of the infills"
        ),
        Column("Δ per ml", True),
        Column("Δp", True, "change of the probability when only this lesion is removed"),
        Column("Shapley", True, "fair share of the log-odds, for scans with few candidates"),
        Column("Infills", meaning="whether all ways to fill the hole agree on the sign of Δ"),
        Column("Slice", True, "index in the ingested scan, from 0"),
        Column("Centre (mm)", True, "patient coordinates: left, posterior, superior"),
    ]
    notes = [f"{more} further lesions are in lesions.csv."] if more > 0 else []
    if unmeasured:
        notes.append(f"{unmeasured} smaller opacities were removed together, not one by one.")
    return table(
        "Lesions by what their removal does", columns, map(_lesion, lesions[:SHOWN_LESIONS]), note=" ".join(notes)
    )


def _lesion(lesion: Lesion) -> list[object]:
    by_infill = ", ".join(f"{name} {number(value, 2)}" for name, value in sorted(lesion.delta_by_infill.items()))
    return [
        _rank(lesion),
        Cell("crucial", badge="crucial") if lesion.crucial else Cell(""),
        Cell(f"{lesion.side} {lesion.zone}", _parts(lesion)),
        Cell(number(lesion.volume_ml, 1)),
        Cell(_whole(lesion.mean_hu)),
        Cell(number(lesion.delta, 2), f"noise {number(lesion.noise, 2)}"),
        Cell(number(lesion.delta_per_ml, 3)),
        Cell(number(lesion.delta_probability, 2)),
        Cell(number(lesion.shapley, 2)),
        Cell("agree" if lesion.infills_agree else "differ", by_infill),
        Cell(str(lesion.slice)),
        Cell(", ".join(map(_whole, lesion.centroid_lps_mm))),
    ]


def _rank(lesion: Lesion) -> Cell:
    if lesion.rank is None:
        return Cell("–", "below the noise", lesion.id)
    differs = lesion.rank_low != lesion.rank_high
    return Cell(str(lesion.rank), f"{lesion.rank_low} to {lesion.rank_high}" if differs else "", lesion.rank)


def _parts(lesion: Lesion) -> str:
    notes = [f"{part.zone} {number(part.volume_ml, 0)} ml" for part in lesion.parts]
    if lesion.kind == "region":
        notes.insert(0, f"a region proposed by {', '.join(PROPOSERS[name] for name in lesion.proposers)}, no opacity")
    return ", ".join(notes)


def _interactions(scan: ExplainedScan) -> Table | None:
    """Return the strongest interactions of pairs of lesions; None where none were measured."""
    if not scan.interactions:
        return None
    ranks = {lesion.id: str(lesion.rank if lesion.rank is not None else f"({lesion.id})") for lesion in scan.lesions}
    rows = [
        [
            ranks[pair.first],
            ranks[pair.second],
            number(pair.value, 2),
            "together" if pair.value > 0 else "one is enough",
        ]
        for pair in scan.interactions[:SHOWN_PAIRS]
    ]
    note = "Shapley interactions of pairs, in log-odds, the strongest first; above 0 two lesions act together."
    return table(
        "Lesions that act together", ["Lesion", "Lesion", Column("Interaction", True), "Meaning"], rows, note=note
    )


def _whole(value: float) -> str:
    return f"{value:.0f}".replace("-", "−")
