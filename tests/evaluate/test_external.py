"""A model on new labelled patients: joined with their labels, measured, and compared with its own cohort."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from claire.apply.verdict import verdict
from claire.core.command.files import sha256_file
from claire.core.command.record import read_record
from claire.core.contracts.external import ExternalDocument, ExternalFigure, read_external
from claire.core.contracts.labels import write_labels
from claire.core.contracts.metrics import METRICS, Figure
from claire.core.contracts.model import ModelDocument, write_model
from claire.core.contracts.predictions import PredictedPatient, PredictedScan, PredictionsDocument, write_predictions
from claire.core.sources.dicom import read_header
from claire.core.statistics.decisions import decide
from claire.core.statistics.intervals import bootstrap_weights, delong_logit, difference_limits, newcombe, on_logit
from claire.core.statistics.ranking import auc, placements
from claire.evaluate.auc import delong_limits
from claire.evaluate.external.drops import difference
from claire.evaluate.figures import auc_figure
from claire.evaluate.measure import measure
from claire.evaluate.samples import Sample
from claire.ingest.private import Outcome, write_private
from scipy.special import expit
from scipy.stats import norm

from tests.support.command import claire
from tests.support.dicom_maker import SeriesMaker
from tests.support.documents import listed_series
from tests.support.documents import model as trained_model
from tests.support.scans import lung_facts

CLASSES = ("negative", "positive")
NETWORKS = 3


def inside(area: float, half: float = 0.04, **changes: object) -> dict[str, object]:
    """Return figures of a model whose AUC inside is known, and whose other figures are 0.9."""
    figures = {name: Figure(value=0.9, lower=0.85, upper=0.95) for name in METRICS}
    figures["auc"] = Figure(value=area, lower=area - half, upper=min(area + half, 1.0))
    corrected = Figure(value=area - 0.01, lower=area - half - 0.01, upper=area + half - 0.01)
    return {
        "headline": figures, "winner": figures, "at_sensitivity_90": figures, "auc_corrected": corrected,
        "better_than_chance": True, "prevalence": 0.5,
    } | changes  # fmt: skip


def model_of(classes: Sequence[str] = CLASSES, area: float = 0.95, **changes: object) -> tuple[ModelDocument, dict]:
    """Return a model with three networks that nobody loads, and its members."""
    document, binary = trained_model(), len(classes) == 2
    members = {fold.weights: f"weights {fold.fold}".encode() for fold in document.folds}
    folds = tuple(
        fold.model_copy(
            update={
                "sha256": sha256(members[fold.weights]).hexdigest(),
                "operating_points": fold.operating_points.model_copy(update={"youden": 0.5, "sensitive": 0.3})
                if binary and fold.operating_points
                else None,
                "temperature": None,
                "training_share": 0.5 if binary else None,
                "validation_share": 0.4 if binary else None,
            }
        )
        for fold in document.folds
    )
    values = {
        "classes": tuple(classes), "positive_class": classes[1] if binary else None, "folds": folds,
        "figures": document.figures.model_copy(update=inside(area, **changes)),
        "members": {name: sha256(content).hexdigest() for name, content in members.items()},
    }  # fmt: skip
    return ModelDocument.model_validate(document.model_copy(update=values).model_dump()), members


@dataclass
class NewCohort:
    """Predicted patients with one scan each, and their truth; class i has the shift `shifts[i]` of its log-odds."""

    folder: Path
    sizes: Sequence[int] = (30, 30)
    classes: Sequence[str] = CLASSES
    shift: float = 2.0
    area: float = 0.95
    figures: Mapping[str, object] = field(default_factory=dict)
    strange: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.document, members = model_of(self.classes, self.area, **self.figures)
        self.model = write_model(self.folder / f"{self.document.variant_id}.model.zip", self.document, members)
        target = np.repeat(np.arange(len(self.classes)), self.sizes)
        rng = np.random.default_rng(3)
        scores = rng.normal(size=(len(target), NETWORKS, len(self.classes))) * 0.2
        scores += rng.normal(size=(len(target), 1, len(self.classes)))
        scores[np.arange(len(target)), :, target] += self.shift
        powers = np.exp(scores)
        self.probability = powers / powers.sum(axis=-1, keepdims=True)
        self.target = target
        self.truth = {f"P{i:03d}": self.classes[label] for i, label in enumerate(target)}
        self.predictions = write_predictions(self.folder / "predictions.json", self.predicted())

    def predicted(self, **changes: object) -> PredictionsDocument:
        """Return the predictions of the model."""
        scans, patients = [], []
        for i, patient in enumerate(self.truth):
            reasons = ("slice thickness 8 mm: the cohort has 1 to 5 mm",) if i < self.strange else ()
            judged = verdict(self.probability[i], self.document, reasons)
            scan = f"S{i:03d}"
            scans.append(
                PredictedScan(
                    scan=scan,
                    patient=patient,
                    shard="0000",
                    line=i,
                    verdict=judged,
                    out_of_cohort=reasons,
                    lungs=lung_facts(),
                    slices=20,
                    phantom=False,
                )
            )
            patients.append(PredictedPatient(patient=patient, scans=(scan,), verdict=judged))
        values: dict[str, object] = {
            "model": self.document.variant_id, "model_sha256": sha256_file(self.model),
            "classes": self.document.classes, "cohort_sha256": "ab" * 32, "scans": scans, "patients": patients,
            "set_aside": {},
        }  # fmt: skip
        return PredictionsDocument.model_validate(values | changes)

    def labels(self, text: str = "", key: str = "patient") -> Path:
        """Write labels by pseudonym: the truth, or `text`."""
        path = self.folder / "labels.csv"
        names = self.truth.items() if key == "patient" else ((f"S{p[1:]}", c) for p, c in self.truth.items())
        path.write_text(text or f"{key},label\n" + "".join(f"{name},{label}\n" for name, label in names))
        return path

    def argv(self, labels: Path, *flags: str) -> list[str]:
        """Return the flags of the evaluation."""
        paths = {
            "--external": self.predictions,
            "--labels": labels,
            "--model": self.model,
            "--out": self.folder / "out",
        }
        return [*(str(word) for pair in paths.items() for word in pair), "--bootstrap", "200", *flags]

    def evaluate(self, labels: Path | None = None, *flags: str) -> ExternalDocument:
        """Return external.json."""
        assert claire("evaluate", self.argv(labels or self.labels(), *flags)) == 0
        return read_external(self.folder / "out/external.json")

    def refused(self, capsys: pytest.CaptureFixture[str], labels: Path, *flags: str) -> str:
        """Return the error of an evaluation that must fail and leave nothing."""
        assert claire("evaluate", self.argv(labels, *flags)) == 2
        assert not [*(self.folder / "out").glob("*")]
        return capsys.readouterr().err


def find(document: ExternalDocument, metric: str, point: str = "", who: str = "all") -> ExternalFigure:
    (found,) = [e for e in document.figures if (e.metric, e.point, e.who) == (metric, point, who)]
    return found


@pytest.fixture
def new(tmp_path: Path) -> NewCohort:
    """Sixty new patients on whom the model does worse than inside."""
    return NewCohort(tmp_path / "new", shift=0.8)


def test_figures_are_those_of_the_predictions(new: NewCohort) -> None:
    document = new.evaluate()
    positive = new.target == 1
    score = new.probability.mean(axis=1)[:, 1]
    area = find(document, "auc")
    assert area.figure.value == pytest.approx(auc(score, positive), abs=1e-6)
    assert (area.figure.lower, area.figure.upper) == pytest.approx(delong_logit(*placements(score, positive)), abs=1e-6)
    assert area.figure.method == "delong-logit"
    assert area.figure.delong_lower == pytest.approx(area.figure.lower, abs=0.03)
    log_odds = np.log(new.probability[..., 1] / new.probability[..., 0])
    for point, threshold in (("youden", 0.5), ("sensitive", 0.3)):
        called = (log_odds - np.log(threshold / (1 - threshold))).mean(axis=1) >= 0
        sensitivity, specificity = find(document, "sensitivity", point), find(document, "specificity", point)
        assert sensitivity.figure.value == pytest.approx(called[positive].mean(), abs=1e-6)
        assert specificity.figure.value == pytest.approx((~called[~positive]).mean(), abs=1e-6)
        assert (sensitivity.n, specificity.n, sensitivity.figure.method) == (30, 30, "clopper-pearson")
    calibrated = expit(log_odds + np.log(0.4 / 0.6)).mean(axis=1)
    losses = -np.log(np.where(positive, calibrated, 1 - calibrated))
    assert find(document, "log_loss").figure.value == pytest.approx(losses.mean(), abs=1e-5)
    assert find(document, "brier").figure.value == pytest.approx(np.mean((calibrated - positive) ** 2), abs=1e-5)


def test_the_drop_is_new_minus_inside_and_is_said(new: NewCohort, capsys: pytest.CaptureFixture[str]) -> None:
    document = new.evaluate()
    area = find(document, "auc")
    headline, winner, corrected = area.drops
    assert [drop.against for drop in area.drops] == ["headline", "winner", "winner_corrected"]
    assert headline.difference.value == pytest.approx(area.figure.value - 0.95, abs=1e-6)
    limits = difference_limits(area.figure.value, (area.figure.lower, area.figure.upper), 0.95, (0.91, 0.99))
    assert (headline.difference.lower, headline.difference.upper) == pytest.approx(limits, abs=1e-5)
    assert winner.difference == headline.difference
    assert corrected.difference.value == pytest.approx(headline.difference.value + 0.01, abs=1e-6)
    printed = capsys.readouterr().out
    assert printed.splitlines() == list(document.sentences)
    assert f"{-headline.difference.value:.2f} lower (" in document.sentences[0]
    assert document.sentences[0].startswith(f"AUC {area.figure.value:.2f} (")
    assert "0.95 (0.91 to 0.99) inside" in document.sentences[0]


def test_delong_limits_inside_make_the_interval_of_the_drop() -> None:
    new, internal = Figure(value=0.8, lower=0.7, upper=0.9), Figure(value=0.9, lower=0.88, upper=0.92)
    with_delong = internal.model_copy(update={"delong_lower": 0.84, "delong_upper": 0.96})
    limits = difference_limits(0.8, (0.7, 0.9), 0.9, on_logit(0.9, 0.06))
    drop = difference(new, with_delong)
    assert (drop.lower, drop.upper) == pytest.approx(limits, abs=1e-6)
    assert drop.upper - drop.lower > difference(new, internal).upper - difference(new, internal).lower
    perfect = with_delong.model_copy(update={"value": 1.0, "lower": 0.93, "upper": 1.0})
    assert difference(new, perfect).lower == pytest.approx(-0.2 - 0.1, abs=1e-6)


def test_without_a_drop_none_is_said_to_be_shown(tmp_path: Path) -> None:
    document = NewCohort(tmp_path / "new", shift=1.7).evaluate()
    assert "no drop is shown (from " in document.sentences[0]
    assert document.better_than_chance


def test_chance_is_called_chance(tmp_path: Path) -> None:
    document = NewCohort(tmp_path / "new", shift=0.0).evaluate()
    assert not document.better_than_chance
    assert any("not shown to be better than chance" in sentence for sentence in document.sentences)


def test_perfect_separation_has_an_interval(tmp_path: Path) -> None:
    area = find(NewCohort(tmp_path / "new", shift=9.0).evaluate(), "auc").figure
    assert (area.value, area.method) == (1.0, "newcombe")
    assert area.lower == pytest.approx(newcombe(1.0, [(30, 30)])[0], abs=1e-6)


def test_patients_without_a_say_are_in_one_of_the_two_groups(tmp_path: Path) -> None:
    new = NewCohort(tmp_path / "new", strange=6)
    document = new.evaluate()
    silent = sum(bool(patient.verdict.cannot_tell) for patient in new.predicted().patients)
    assert silent >= 6
    assert sum(document.n.with_say.values()) == 60 - silent == find(document, "auc", who="with_say").n
    assert find(document, "cannot_tell").figure.value == pytest.approx(silent / 60, abs=1e-6)
    assert find(document, "out_of_cohort").figure.value == pytest.approx(0.1)


def test_a_model_without_any_say_is_still_measured(tmp_path: Path) -> None:
    document = NewCohort(tmp_path / "new", figures={"better_than_chance": False}).evaluate()
    assert find(document, "auc").figure.value is not None
    assert {each.who for each in document.figures} == {"all"}
    assert "the model has a say in none of the patients" in document.notes


def test_scans_without_a_label_are_counted_and_never_negative(new: NewCohort) -> None:
    text = "patient,label\n" + "".join(f"{p},{c}\n" for p, c in new.truth.items() if p not in ("P000", "P059"))
    document = new.evaluate(new.labels(text + "P000,\nP777,positive\n"))
    assert document.n.patients == {"negative": 29, "positive": 29}
    assert (document.n.unlabelled_patients, document.n.unlabelled_scans, document.n.unused_labels) == (2, 2, 1)
    assert document.sentences[-2].startswith("Without a label: 2 of 60 scans; 2 of 60 patients")
    record = read_record(new.folder / "out/external.evaluate.run.json")
    assert record.counts["unlabelled_scans"] == 2
    assert sorted(record.outputs) == ["external.csv", "external.json"]


def test_a_missing_class_has_no_auc(new: NewCohort) -> None:
    text = "patient,label\n" + "".join(f"{p},{c}\n" for p, c in new.truth.items() if c == "positive")
    document = new.evaluate(new.labels(text))
    assert find(document, "auc").figure.value is None
    assert find(document, "specificity", "youden").n == 0
    assert find(document, "sensitivity", "youden").figure.value is not None
    assert document.sentences[0] == "AUC is unknown on 30 new patients: a class is missing."


def test_keys_of_pseudonyms_give_the_same(new: NewCohort) -> None:
    assert new.evaluate(new.labels(key="scan")) == new.evaluate(new.labels())


@pytest.mark.parametrize("key", ["patient_id", "study_uid", "series_uid", "path"])
def test_names_at_the_site_lead_through_the_private_tables(new: NewCohort, key: str) -> None:
    SeriesMaker().write(new.folder / "series")
    header = read_header(min(path for path in (new.folder / "series").rglob("*") if path.is_file()))
    for stem, start in (("0000", 0), ("0001", 30)):
        numbers = range(start, start + 30)
        series = [
            listed_series(i, study_uid=f"1.2.{i}", series_uid=f"1.3.{i}", files=(f"site/{i:02d}/a.dcm",))
            for i in numbers
        ]
        outcomes = [Outcome(each, f"S{each.line:03d}", f"P{each.line:03d}", "") for each in series]
        headers = {i: replace(header, patient_id=f"MRN {i:04d}") for i in numbers}
        (new.folder / "private").mkdir(exist_ok=True)
        write_private(new.folder / "private", stem, outcomes, headers)
    name = {"patient_id": "MRN {:04d}", "study_uid": "1.2.{}", "series_uid": "1.3.{}", "path": "site/{:02d}"}[key]
    rows = [{key: name.format(i), "label": label} for i, label in enumerate(new.truth.values())]
    table = write_labels(new.folder / "site.csv", key, rows, ())
    document = new.evaluate(table, "--private", str(new.folder / "private"))
    assert document == new.evaluate()
    written = (new.folder / "out/external.json").read_text() + (new.folder / "out/external.csv").read_text()
    assert "MRN" not in written
    assert "P000" not in written


def test_names_at_the_site_need_the_private_tables(new: NewCohort, capsys: pytest.CaptureFixture[str]) -> None:
    table = new.labels("patient_id,label\n0001,positive\n")
    assert "--private is missing" in new.refused(capsys, table)
    (new.folder / "empty").mkdir()
    assert "holds no table" in new.refused(capsys, table, "--private", str(new.folder / "empty"))
    private = new.folder / "private"
    private.mkdir()
    write_private(private, "0000", [Outcome(listed_series(0), "S000", "P000", "")], {})
    assert "no row for 59 predicted scans, such as S001" in new.refused(capsys, table, "--private", str(private))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,label\nP000,covid\nP001,positive\n", "no class of the model: covid"),
        ("patient,label\nP000,negative\nP000,positive\n", "line 3 of labels.csv contradicts"),
        ("patient,scan,label\nP000,S000,negative\n", "has 2 key columns (patient, scan)"),
        ("label\nnegative\n", "has 0 key columns (none)"),
        ("patient,label\n", "has no rows"),
        ("patient,label\nP900,negative\n", "no predicted patient has a label"),
    ],
)
def test_wrong_labels_are_refused(new: NewCohort, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    assert message in new.refused(capsys, new.labels(text))


def test_a_patient_with_two_labels_is_refused(new: NewCohort, capsys: pytest.CaptureFixture[str]) -> None:
    document = new.predicted()
    scans = [scan.model_copy(update={"patient": "P000"}) for scan in document.scans[-2:]]
    write_predictions(new.predictions, document.model_copy(update={"scans": (*document.scans[:-2], *scans)}))
    assert "1 patients have two labels, such as P000" in new.refused(capsys, new.labels(key="scan"))


def test_predictions_of_another_model_are_refused(new: NewCohort, capsys: pytest.CaptureFixture[str]) -> None:
    write_predictions(new.predictions, new.predicted(model_sha256="00" * 32))
    assert f"another file of model {new.document.variant_id}" in new.refused(capsys, new.labels())
    write_predictions(new.predictions, new.predicted(model_sha256="00" * 32, model="v0"))
    assert "made by another model file than --model (v0, not" in new.refused(capsys, new.labels())


def test_what_does_not_go_together_is_refused(new: NewCohort, capsys: pytest.CaptureFixture[str]) -> None:
    assert "do not go with it" in new.refused(capsys, new.labels(), "--scans", str(new.predictions))
    assert claire("evaluate", ["--external", str(new.predictions), "--model", str(new.model)]) == 2
    assert "--labels is missing" in capsys.readouterr().err
    assert claire("evaluate", ["--labels", str(new.labels())]) == 2
    assert "required: --runs, --scans, --cohort-summary" in capsys.readouterr().err
    tables = ["--runs", str(new.folder / "runs.txt"), "--scans", str(new.model), "--cohort-summary", str(new.model)]
    (new.folder / "runs.txt").write_text(f"{new.model}\n")
    assert claire("evaluate", [*tables, "--model", str(new.model)]) == 2
    assert "--labels, --model and --private go with --external" in capsys.readouterr().err


def test_predictive_values_are_compared_at_one_prevalence_only(new: NewCohort) -> None:
    assert [drop.against for drop in find(new.evaluate(), "ppv", "youden").drops] == ["headline", "winner"]
    stated = new.evaluate(None, "--prevalence", "0.1")
    assert (stated.prevalence, stated.prevalence_from) == (0.1, "stated")
    assert find(stated, "ppv", "youden").drops == ()
    assert find(stated, "ppv", "youden").figure.value < find(new.evaluate(), "ppv", "youden").figure.value
    assert [drop.against for drop in find(stated, "sensitivity", "sensitive").drops] == ["winner"]


def test_calibration_needs_fifty_patients_of_a_class(tmp_path: Path) -> None:
    few = NewCohort(tmp_path / "few").evaluate()
    assert few.notes == ("calibration: too few patients, 50 of each class are needed (negative 30, positive 30)",)
    many = NewCohort(tmp_path / "many", sizes=(50, 60), shift=1.0).evaluate()
    assert {"calibration_slope", "calibration_intercept"} <= {each.metric for each in many.figures}
    assert find(many, "calibration_slope").figure.lower > 0


def test_more_classes_are_measured_each_against_the_rest(tmp_path: Path) -> None:
    classes = ("covid", "normal", "pneumonia")
    new = NewCohort(tmp_path / "new", sizes=(20, 25, 15), classes=classes, figures={"at_sensitivity_90": None})
    document = new.evaluate()
    score = new.probability.mean(axis=1)
    areas = [auc(score[:, c], new.target == c) for c in range(3)]
    assert find(document, "auc").figure.value == pytest.approx(np.mean(areas), abs=1e-6)
    called = decide(score, None)
    recall = np.mean([(called[new.target == c] == c).mean() for c in range(3)])
    assert find(document, "sensitivity", "likeliest").figure.value == pytest.approx(recall, abs=1e-6)
    assert not [each for each in document.figures if each.metric in ("ppv", "npv", "calibration_slope")]


def test_the_table_has_a_row_for_each_comparison(new: NewCohort) -> None:
    document = new.evaluate()
    with (new.folder / "out/external.csv").open(newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert len(rows) == sum(max(1, len(each.drops)) for each in document.figures)
    drop = find(document, "auc").drops[0]
    assert [rows[0][name] for name in ("metric", "who", "n", "against")] == ["auc", "all", "60", "headline"]
    assert float(rows[0]["difference_lower"]) == drop.difference.lower
    assert float(rows[0]["internal"]) == 0.95


def test_the_interval_of_the_drop_covers() -> None:
    """Binormal scores: five folds of 24 inside, 40 new patients; the truth is 0.90 inside and 0.75 outside."""
    rng, draws, hits = np.random.default_rng(7), 400, 0
    for _ in range(draws):
        folds = [binormal(rng, 12, 0.90, first=24 * fold) for fold in range(5)]
        strata = [(fold, label) for fold, sample in enumerate(folds) for label in sample.target.tolist()]
        weights = bootstrap_weights(strata, 150, int(rng.integers(2**31)))
        measured = [measure(sample, (0.5, 0.5), weights) for sample in folds]
        internal = auc_figure(measured).model_copy(update={"delong_lower": delong_limits(measured)[0]})
        score, positive = (new := binormal(rng, 20, 0.75)).probability[:, 1], new.target == 1
        lower, upper = delong_logit(*placements(score, positive))
        drop = difference(Figure(value=auc(score, positive), lower=lower, upper=upper), internal)
        hits += drop.lower <= 0.75 - 0.90 <= drop.upper
    assert 0.93 <= hits / draws <= 0.99


def binormal(rng: np.random.Generator, size: int, area: float, first: int = 0) -> Sample:
    """Return `size` patients of each class whose scores have this AUC in the population."""
    target = np.repeat([0, 1], size)
    score = expit(rng.normal(size=2 * size) + np.sqrt(2) * norm.ppf(area) * target)
    return Sample(np.arange(first, first + 2 * size), target, np.column_stack([1 - score, score]))
