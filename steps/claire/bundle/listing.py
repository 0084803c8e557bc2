"""What a model file is, in lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from claire.bundle.card import figure_text
from claire.core.command.files import sha256_file
from claire.core.contracts.fingerprint import NUMBERS
from claire.core.contracts.model import FoldModel, ModelDocument, read_model
from claire.core.contracts.variant import Variant


def list_model(path: Path) -> Iterator[str]:
    """Yield the lines of `claire bundle --list`, after every member was checked. Raises ClaireError on damage."""
    document = read_model(path).document
    yield f"{path.name}: {document.card.title}"
    yield f"  {document.card.warning}"
    yield f"sha256       {sha256_file(path)}"
    yield f"cohort       {document.cohort_sha256}"
    yield f"variant      {document.variant_id}: {_settings(document.variant)}"
    yield f"classes      {', '.join(document.classes)}"
    yield f"data         {document.card.data}"
    figures = document.figures
    yield f"AUC          {figure_text(figures.headline['auc'])} nested, {figure_text(figures.winner['auc'])} selected"
    fired = [guard.name for guard in figures.guards if guard.fired]
    yield f"guards       {', '.join(fired) + ' fired' if fired else 'silent'}"
    for fold in document.folds:
        yield f"fold {fold.fold:<8}{fold.run}: {_fold(fold)}"
    for name, values in document.preparation.job().items():
        if values:
            yield f"prepared     {name}: {json.dumps(values)}"
    yield from _fingerprint(document)
    for export in document.exports.onnx:
        yield f"onnx         {export.member or f'{export.run}: none, {export.reason}'}"
    for name, members in (("monai", document.exports.monai), ("container", document.exports.container)):
        yield f"{name:<13}{', '.join(members) or 'none'}"
    yield f"licence      {document.card.licence}; of the data: {document.card.data_licence}"
    yield f"software     {', '.join(f'{name} {number}' for name, number in document.software.items())}"


def _settings(variant: Variant) -> str:
    return f"{variant.architecture}, {variant.dimensions}, {variant.slices} slices of {variant.size}, {variant.view}"


def _fold(fold: FoldModel) -> str:
    points = fold.operating_points
    decided = (
        "the likeliest class"
        if points is None
        else f"positive from {points.youden:.3f} (90 % sensitive: {points.sensitive:.3f})"
    )
    temperature = "not identified" if fold.temperature is None else f"{fold.temperature:.3f}"
    return f"{decided}, temperature {temperature}, weights {fold.sha256[:12]}…"


def _fingerprint(document: ModelDocument) -> Iterator[str]:
    for name, summary in document.fingerprint.numbers.items():
        title, unit, digits = NUMBERS[name]
        limits = f"{summary.minimum:.{digits}f} to {summary.maximum:.{digits}f} {unit}".strip()
        yield f"scans        {title}: {limits}, median {summary.median:.{digits}f}"
    for name, counts in document.fingerprint.categories.items():
        yield f"scans        {name}: {', '.join(f'{value} ({count})' for value, count in counts.items())}"
