"""An example of every JSON document that crosses between steps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from claire.core.command.documents import Document
from claire.core.contracts.cohort import CohortHead, Scan
from claire.core.contracts.cohort_summary import Cell, CohortSummary
from claire.core.contracts.external import Drop, ExternalCounts, ExternalDocument, ExternalFigure
from claire.core.contracts.lesions import ExplainedScan, FoundLesions, FoundScan, LesionsDocument
from claire.core.contracts.masks import MaskFacts
from claire.core.contracts.metrics import Figure, Metrics, read_metrics
from claire.core.contracts.model import ModelDocument, read_model
from claire.core.contracts.plan import Plan
from claire.core.contracts.predictions import (
    Decision,
    NetworkPrediction,
    PredictedPatient,
    PredictedScan,
    PredictionsDocument,
    Verdict,
)
from claire.core.contracts.prepared import PreparedHead, PreparedScan
from claire.core.contracts.run import Pretrained, RunFacts
from claire.core.contracts.scans import ScanFacts
from claire.core.contracts.shard_list import ListedSeries
from claire.core.contracts.trainings import Collected
from claire.core.contracts.variant import Variant, VariantDocument
from claire.core.contracts.weights_facts import WeightsFacts
from claire.core.contracts.winner import Winner

from tests.support.bundling import make_winner
from tests.support.command import claire
from tests.support.report_inputs import explained, lesion
from tests.support.runs import SHA, World, run_facts, told_apart, variants
from tests.support.scans import lung_facts, scan_facts
from tests.support.synthetic import make_cohort

CLASSES = ("negative", "positive")
AFFINE = np.diag([-8.0, -8.0, 10.0, 1.0])
NAMES = tuple(
    kind.__name__
    for kind in (
        *(
            CohortHead,
            CohortSummary,
            Collected,
            ExternalDocument,
            FoundLesions,
            LesionsDocument,
            ListedSeries,
            MaskFacts,
            Metrics,
            ModelDocument,
        ),
        *(
            Plan,
            PredictionsDocument,
            PreparedHead,
            PreparedScan,
            RunFacts,
            ScanFacts,
            VariantDocument,
            WeightsFacts,
            Winner,
        ),
    )
)


def plan() -> Plan:
    """Return a plan of two variants."""
    return Plan(name="x", fold_count=3, trainings=6, epochs=60, variants=("v1", "v2"), pretraining=(-1, 0))


def winner() -> Winner:
    """Return a winner with two runs, one of which is to be explained."""
    return Winner(variant="v1", winner=(0, 2), fold=(0, 1), explained=(2,), judge=(1,))


def summary() -> CohortSummary:
    """Return the summary of a cohort of two patients."""
    counts = {"negative": 1, "positive": 1}
    return CohortSummary(
        sha256=SHA, classes=CLASSES, size=64, fold_count=3, seed=0, scans=2, patients=2, slices=20, labelled_slices=0,
        patients_by_class=counts, scans_by_class=counts,
        cells=(Cell(label="negative", site="north", vendor="Siemens", patients=1, scans=1),),
        reference_standards={"RT-PCR": 2}, rejected={"not_chosen": 1}, phantom=True,
    )  # fmt: skip


def lesions() -> LesionsDocument:
    """Return what explain says of one scan with two lesions."""
    rng = np.random.default_rng(0)
    scan = ExplainedScan(
        scan="S1", patient="P1", label="positive", probability=0.75, decision="positive", explained_class="positive",
        outcome="TP", images=("S1.lesions.png",), candidates_left_out=3,
        lesions=tuple(lesion(i, rng) for i in range(2)),
    )  # fmt: skip
    return explained("v1-f0", "v1", 0, CLASSES, False, [scan])


def predictions() -> PredictionsDocument:
    """Return what a model of one network says of a scan in which it has no say."""
    said = Verdict(
        probability=dict(zip(CLASSES, (0.25, 0.75), strict=True)), low=dict(zip(CLASSES, (0.25, 0.75), strict=True)),
        high=dict(zip(CLASSES, (0.25, 0.75), strict=True)),
        networks=(NetworkPrediction(fold=0, probability=(0.2, 0.8)),),
        decisions=(Decision(point="youden", decision="positive", agreeing=1),), cannot_tell=("slice thickness",),
    )  # fmt: skip
    scan = PredictedScan(
        scan="S1", patient="P1", shard="0000", line=3, verdict=said, out_of_cohort=("slice thickness",),
        lungs=lung_facts(), slices=2, phantom=False,
    )  # fmt: skip
    return PredictionsDocument(
        model="v1", model_sha256=SHA, classes=CLASSES, cohort_sha256=SHA, scans=(scan,),
        patients=(PredictedPatient(patient="P1", scans=("S1",), verdict=said),), set_aside={"no_lungs": 1},
    )  # fmt: skip


def found_lesions() -> FoundLesions:
    """Return the lesions of a new scan, of a model whose gates are closed."""
    document = lesions()
    return FoundLesions(
        model="v1", model_sha256=SHA, cohort_sha256=SHA, classes=CLASSES, gates=document.gates, reliable=False,
        infills=document.infills, scans=(FoundScan(fold=0, ranked=True, explained=document.scans[0]),),
    )  # fmt: skip


def external() -> ExternalDocument:
    """Return a model measured on four new patients: its AUC, and the drop against the headline."""
    counts = ExternalCounts(
        predicted_patients=5, predicted_scans=6, patients={"negative": 2, "positive": 2},
        with_say={"negative": 1, "positive": 2}, unlabelled_patients=1, unlabelled_scans=1, unused_labels=0,
    )  # fmt: skip
    drop = Drop(
        against="headline",
        internal=Figure(value=0.95, lower=0.9, upper=0.98),
        difference=Figure(value=-0.2, lower=-0.7, upper=0.1, method="mover"),
    )
    area = Figure(value=0.75, lower=0.25, upper=1.0, method="delong-logit", delong_lower=0.3, delong_upper=1.0)
    return ExternalDocument(
        model="v1", model_sha256=SHA, cohort_sha256=SHA, classes=CLASSES, positive_class="positive", confidence=0.95,
        bootstrap=100, seed=0, prevalence=0.5, prevalence_from="model", n=counts, better_than_chance=False,
        figures=(ExternalFigure(metric="auc", point="", who="all", n=4, figure=area, drops=(drop,)),), notes=("few",),
        sentences=("AUC 0.75 (0.25 to 1.00) on 4 new patients.",),
    )  # fmt: skip


def cohort_head() -> CohortHead:
    """Return the description of a cohort of one scan."""
    scan = Scan(
        scan="S1", patient="P1", label="positive", first=0, count=2, slices=(3, 4), slice_labels=(-1, 1), affine=AFFINE,
        slice_positions_mm=(0.0, 10.0), crop=(0, 64, 0, 64), original_shape=(9, 512, 512),
    )  # fmt: skip
    return CohortHead(classes=CLASSES, scans=(scan,), sha256=SHA)


def prepared_scan(name: str = "S1", **facts: object) -> PreparedScan:
    """Return the description of a prepared scan, slices 1 to 3 of 9."""
    return PreparedScan(
        facts=scan_facts(name, 9, **facts), lungs=lung_facts(), slices=(1, 2, 3), affine=AFFINE,
        slice_positions_mm=(0.0, 10.0, 20.0), crop=(0, 512, 0, 512), original_shape=(9, 512, 512),
    )  # fmt: skip


def listed_series(line: int = 0, **changes: object) -> ListedSeries:
    """Return a series of a shard list."""
    values: dict[str, object] = {
        "line": line, "kind": "dicom", "study_uid": "1.2.3", "series_uid": f"1.2.3.{line}", "part": 0, "bytes": 1000,
        "files": ("a/1.dcm", "a/2.dcm"), "instances": 2, "modality": "CT", "chosen": True, "why": "", "problem": "",
    }  # fmt: skip
    return ListedSeries.model_validate(values | changes)


def metrics() -> Metrics:
    """Return the metrics of a small evaluation."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "world", patients=12)
        world.train_all(variants(1), told_apart(1))
        assert claire("evaluate", [*world.tables(), "--out", folder, "--bootstrap", "100"]) == 0
        return read_metrics(Path(folder) / "metrics.json")


@cache
def model() -> ModelDocument:
    """Return the document of a small model."""
    with TemporaryDirectory() as folder:
        winner = make_winner(make_cohort(Path(folder) / "cohort"), Path(folder) / "winner", steps=1)
        assert claire("bundle", [*winner.argv(), "--exports", "none", "--out", folder]) == 0
        (path,) = Path(folder).glob("*.model.zip")
        return read_model(path).document


@cache
def examples() -> dict[str, Document]:
    """Return an example of every document by the name of its model."""
    run = run_facts(Variant(), 0, CLASSES).model_copy(
        update={"pretrained": Pretrained(loaded=3, untouched=("head.weight",), unused=())}
    )
    weights = WeightsFacts(run="v1-f0", variant=Variant(), fold=0, classes=CLASSES, cohort_sha256=SHA)
    documents: tuple[Document, ...] = (
        *(
            cohort_head(),
            Collected(found=(1, 0), missing=(2,)),
            summary(),
            external(),
            lesions(),
            listed_series(),
            MaskFacts(scan="S1", lungs=lung_facts()),
            metrics(),
        ),
        *(
            plan(),
            Collected(found=(1, 0), missing=(2,)),
            PreparedHead(size=256),
            prepared_scan(),
            run,
            scan_facts(),
            VariantDocument.of(Variant()),
        ),
        *(weights, winner(), predictions(), found_lesions()),
    )
    return {type(document).__name__: document for document in (*documents, model())}
