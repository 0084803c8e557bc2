"""The figures of the model and its card: what people must know before they use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from claire.bundle import Parameters
from claire.bundle.inputs import Inputs
from claire.core.command.shipped import shipped
from claire.core.command.yaml_files import read_yaml_mapping
from claire.core.contracts.fingerprint import NUMBERS, Fingerprint
from claire.core.contracts.metrics import METRICS, Figure, Figures
from claire.core.contracts.model import GuardState, ModelCard, ModelDocument, ModelFigures

WARNING = "Not a medical device. It was not validated for clinical use: no decision about a patient may rest on it."
INTENDED_USE = (
    "Research on chest CT scans like those of the cohort that it learned from, prepared by the CLAIRE pipeline."
)
NOT_STATED = "not stated"


def model_figures(inputs: Inputs) -> ModelFigures:
    """Return the figures of the model; of guards whether they fired, not on which site or scanner."""
    metrics, winner = inputs.metrics, inputs.figures
    return ModelFigures(
        patients=metrics.n.patients,
        scans=metrics.n.scans,
        confidence=metrics.confidence,
        bootstrap=metrics.bootstrap,
        prevalence=metrics.prevalence,
        prevalence_from=metrics.prevalence_from,
        headline=metrics.headline.patient,
        winner=winner.patient,
        auc_corrected=metrics.winner.auc_corrected,
        at_sensitivity_90=winner.at_sensitivity_90,
        calibration=winner.calibration,
        better_than_chance=inputs.winner.better_than_chance,
        complete=winner.complete,
        guards=tuple(
            GuardState(name=guard.name, statement=guard.statement, fired=guard.fired) for guard in metrics.guards
        ),
    )


def model_card(inputs: Inputs, figures: ModelFigures, parameters: Parameters) -> ModelCard:
    """Return the card of the model."""
    classes = inputs.summary.classes
    return ModelCard(
        title=f"{', '.join(classes[1:])} against {classes[0]} on chest CT ({inputs.variant.id})",
        intended_use=parameters.intended_use or INTENDED_USE,
        warning=WARNING,
        licence=parameters.licence or NOT_STATED,
        data=_data(inputs),
        data_licence=parameters.data_licence or NOT_STATED,
        limits=tuple(_limits(inputs, figures)),
        citation=citation(),
    )


def citation() -> str:
    """Return how to cite the pipeline and the article that it follows, out of CITATION.cff."""
    values = read_yaml_mapping(shipped("CITATION.cff"), "Install the package again.")
    article = values["references"][0]
    authors = ", ".join(f"{author['family-names']} {author['given-names'][0]}" for author in article["authors"])
    makers = ", ".join(author["name"] for author in values["authors"])
    return (
        f"{values['title']} {values['version']}, {makers}. "
        f"{authors}: {article['title']}. {article['year']}, {article['notes']}."
    )


def _data(inputs: Inputs) -> str:
    summary = inputs.summary
    classes = ", ".join(f"{name}: {count}" for name, count in inputs.metrics.n.patients.items())
    subjects = "synthetic phantoms, no patients" if summary.phantom else "chest CT scans"
    return f"{summary.scans} {subjects}, of {summary.patients} subjects ({classes}), in {summary.fold_count} folds"


def _limits(inputs: Inputs, figures: ModelFigures) -> Iterator[str]:
    classes = inputs.summary.classes
    yield (
        f"It tells {', '.join(classes)} apart and knows no other disease: whatever else a scan shows, "
        "it answers with one of these."
    )
    yield "Figures were measured on patients of the same cohort: other scanners and hospitals were not tested."
    yield "Figures of this variant are selected as the best of several; the nested headline is the honest one."
    yield (
        "Each fold's network was measured alone. The mean of all of them, which a new scan gets, was not measured "
        "on any patient."
    )
    if inputs.summary.phantom:
        yield "It learned from synthetic phantoms: it knows nothing of patients."
    if not figures.better_than_chance:
        yield "It was not shown to be better than chance."
    if not figures.complete:
        yield "A fold of its variant is missing."
    if inputs.variant.labels == "inherited":
        yield "It learned from slices that inherit the label of their scan: its slice scores mean little."
    if figures.calibration.note:
        yield f"Calibration was not measured: {figures.calibration.note}."
    for guard in figures.guards:
        if guard.fired:
            yield f"The guard {guard.name} fired; expected: {guard.statement}."


def card_text(document: ModelDocument) -> str:
    """Return `model-card.md`."""
    card, figures = document.card, document.figures
    parts = [
        f"# {card.title}",
        f"**{card.warning}**",
        "## Intended use",
        card.intended_use,
        "## Figures",
        f"By patient, with {figures.confidence:.0%} intervals. Headline: the nested procedure, in which the variant "
        "was chosen within each fold. Winner: this variant; it was selected, so its figures flatter.",
        _figure_table({"Headline": figures.headline, "Winner": figures.winner}),
        f"AUC of the winner, corrected in part for the selection: {figure_text(figures.auc_corrected)}. "
        f"PPV and NPV at a prevalence of {figures.prevalence:.3g} ({figures.prevalence_from}).",
        "## Data",
        f"{card.data}. Licences of the data: {card.data_licence}.",
        _fingerprint_table(document.fingerprint),
        "## Limits",
        "\n".join(f"- {limit}" for limit in card.limits),
        "## Networks",
        _fold_table(document),
        "## Licence and citation",
        f"Licence of the model: {card.licence}.",
        card.citation,
    ]
    return "\n\n".join(parts) + "\n"


def figure_text(figure: Figure) -> str:
    """Return a figure with its interval: `0.850 (0.750 to 0.935)`."""
    if figure.value is None:
        return "unknown"
    limits = figure.lower is not None and figure.upper is not None
    return f"{figure.value:.3f}" + (f" ({figure.lower:.3f} to {figure.upper:.3f})" if limits else "")


def _figure_table(columns: Mapping[str, Figures]) -> str:
    rows = [
        [title, *(figure_text(figures[name]) for figures in columns.values())]
        for name, (title, _) in METRICS.items()
        if all(name in figures for figures in columns.values())
    ]
    return _table(["metric", *columns], rows)


def _fold_table(document: ModelDocument) -> str:
    rows = []
    for fold in document.folds:
        points = fold.operating_points
        rows.append([
            str(fold.fold),
            fold.run,
            "likeliest class" if points is None else f"{points.youden:.3f}, {points.sensitive:.3f}",
            "not identified" if fold.temperature is None else f"{fold.temperature:.3f}",
        ])  # fmt: skip
    return _table(["fold", "run", "operating points (Youden, 90 % sensitive)", "temperature"], rows)


def _fingerprint_table(fingerprint: Fingerprint) -> str:
    rows = []
    for name, summary in fingerprint.numbers.items():
        title, unit, digits = NUMBERS[name]
        values = (summary.minimum, summary.median, summary.maximum)
        rows.append([f"{title} ({unit})" if unit else title, *(f"{value:.{digits}f}" for value in values)])
    names = "; ".join(
        f"{name}: {', '.join(f'{value} ({count})' for value, count in counts.items())}"
        for name, counts in fingerprint.categories.items()
    )
    return _table(["of its scans", "least", "median", "most"], rows) + f"\n\nScans by {names}."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
