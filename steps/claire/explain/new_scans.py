"""New scans explained by the networks of a model, as predict predicted them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.files import sha256_file
from claire.core.command.record import Record
from claire.core.command.store import stored
from claire.core.contracts.archive import write_archive
from claire.core.contracts.cohort import Cohort
from claire.core.contracts.gates import reliable
from claire.core.contracts.lesions import FoundLesions, FoundScan, Refinement, write_found_lesions, write_lesion_table
from claire.core.contracts.model import FoldModel, Model, read_model
from claire.core.contracts.predictions import PredictedScan, PredictionsDocument, read_predictions
from claire.core.contracts.verified import open_verified
from claire.core.imaging.infill import INDEPENDENT
from claire.core.networks.architectures import own_source
from claire.core.networks.build import parse_network
from claire.core.networks.devices import choose_device, make_deterministic
from claire.core.statistics.decisions import logit, positive_score
from claire.explain import Parameters
from claire.explain.each import Archives, explain_each
from claire.explain.probe import Cases, Probe
from claire.explain.refine import ChosenNetwork
from claire.explain.scan import Setting

#: What is said of a scan in which the model has no say.
CANNOT_TELL = "The model cannot tell in this scan: p of this network is {p}, no lesion is ranked or named."
#: The stem of the outputs: there is no run.
STEM = "scans"
AS_TRAINED = Refinement(taken=False, reason="the networks of a model are explained as they are", steps=0)


@dataclass(frozen=True)
class NewScans:
    """A model, the new scans and what the model says of them."""

    model: Model
    sha256: str
    cohort: Cohort
    predictions: PredictionsDocument


def explain_new_scans(parameters: Parameters) -> None:
    """Explain the scans of apply, or take the finished result from the store."""
    make_deterministic(parameters.threads)
    new = open_new_scans(parameters)
    variant = new.model.document.variant
    device = choose_device(parameters.device, variant.dimensions)
    known = {
        "model": new.sha256,
        "cohort": new.cohort.sha256,
        "device": device.kind,
        "architecture": own_source(variant.architecture),
    }
    stored("explain", parameters, partial(_explain_all, new), known)


def open_new_scans(parameters: Parameters) -> NewScans:
    """Open the inputs. Raises UsageError unless model, scans and predictions belong together."""
    if parameters.model is None or parameters.predictions is None:
        raise UsageError("--model needs --predictions", "Give predictions.json of `claire apply` with this model.")
    predictions = read_predictions(parameters.predictions)
    cohort = open_verified(parameters.cohort, parameters.store)
    sha256 = sha256_file(parameters.model)
    if predictions.model_sha256 != sha256:
        raise UsageError("--predictions are of another model than --model", "Run `claire apply` with this model.")
    if predictions.cohort_sha256 != cohort.sha256:
        raise UsageError("--predictions are of other scans than --cohort", "Give scans.h5 of the same `claire apply`.")
    return NewScans(read_model(parameters.model), sha256, cohort, predictions)


def _explain_all(new: NewScans, parameters: Parameters) -> None:
    hashed: dict[str, Path | str] = {"model": new.sha256, "cohort": new.cohort.sha256}
    hashed |= {"predictions": parameters.predictions} if parameters.predictions else {}
    out = parameters.out
    with Record("explain", STEM, out, parameters.recorded(), hashed) as record:
        settings = Settings(new, parameters)
        saliency, overlays = out / f"{STEM}.saliency.zip", out / f"{STEM}.overlays.zip"
        with write_archive(saliency) as maps, write_archive(overlays) as pictures:
            scans = tuple(_found(new, settings, Archives(maps, pictures), record))
        document = FoundLesions(
            model=new.model.document.variant_id,
            model_sha256=new.sha256,
            cohort_sha256=new.cohort.sha256,
            classes=new.model.document.classes,
            gates=new.model.document.gates,
            reliable=reliable(new.model.document.gates),
            infills=INDEPENDENT,
            scans=scans,
        )
        for path in (
            saliency,
            overlays,
            write_found_lesions(out / f"{STEM}.lesions.json", document),
            write_lesion_table(out / f"{STEM}.lesions.csv", document),
        ):
            record.output(path)
        record.counts.update(
            scans=len(scans),
            ranked=sum(scan.ranked for scan in scans),
            lesions=sum(len(scan.explained.lesions) for scan in scans),
            crucial=sum(lesion.crucial for scan in scans for lesion in scan.explained.lesions),
        )
        if not scans:
            raise ClaireError("no scan could be explained", "The log names the scans and why.")


class Settings:
    """The settings of a scan by the network that explains it. Each network is loaded once, when it is first needed."""

    def __init__(self, new: NewScans, parameters: Parameters) -> None:
        self._new, self._parameters = new, parameters
        #: Where the model has no say nothing is ranked, and Shapley values would be wasted time.
        self._unranked = parameters.model_copy(update={"shapley": 0})
        variant = new.model.document.variant
        self._device = choose_device(parameters.device, variant.dimensions)
        self._cases = Cases(new.cohort, variant)
        self._chosen: dict[int, ChosenNetwork] = {}

    def fold_of(self, scan: PredictedScan) -> FoldModel:
        """Return the network that explains a scan."""
        return nearest_network(scan, {fold.fold: fold for fold in self._new.model.document.folds})

    def of(self, scan: PredictedScan) -> Setting:
        """Return the setting of a scan, with the network that explains it."""
        fold = self.fold_of(scan)
        return Setting(
            chosen=self._load(fold),
            healer=None,
            healed_odds=fold.healed_log_odds,
            better=not scan.verdict.cannot_tell,
            classes=self._new.model.document.classes,
            parameters=self._parameters if not scan.verdict.cannot_tell else self._unranked,
            cases=self._cases,
            unranked=CANNOT_TELL,
        )

    def _load(self, fold: FoldModel) -> ChosenNetwork:
        if fold.fold not in self._chosen:
            model = self._new.model
            network, facts = parse_network(model.weights(fold), f"{model.path.name}: {fold.weights}")
            point = fold.operating_points.youden if fold.operating_points else None
            none = np.zeros((0, len(facts.classes)))
            self._chosen[fold.fold] = ChosenNetwork(
                Probe(network, facts.variant, self._device), AS_TRAINED, point, [], none, np.zeros(0, bool), None
            )
        return self._chosen[fold.fold]


def nearest_network(scan: PredictedScan, folds: Mapping[int, FoldModel]) -> FoldModel:
    """Return the network whose log-odds are nearest to the mean of all networks, of those that decide as they all do.

    So what is explained is the decision that is told.
    """
    networks = scan.verdict.networks
    odds = logit(positive_score(np.array([network.probability for network in networks])))
    distance = np.abs(odds - odds.mean())
    points = [folds[network.fold].operating_points for network in networks]
    if all(point is not None for point in points):
        called = odds >= logit(np.array([point.youden for point in points if point]))
        together = scan.verdict.decision.decision == list(scan.verdict.probability)[1]
        distance = np.where(called == together, distance, np.inf)
    return folds[networks[int(np.argmin(distance))].fold]


def _found(new: NewScans, settings: Settings, archives: Archives, record: Record) -> Iterator[FoundScan]:
    predicted = {scan.scan: scan for scan in new.predictions.scans}
    for result in explain_each(new.cohort.scans, lambda scan: settings.of(predicted[scan.scan]), archives, record):
        scan = predicted[result.explained.scan]
        fold = settings.fold_of(scan).fold
        yield FoundScan(fold=fold, ranked=not scan.verdict.cannot_tell, explained=result.explained)
