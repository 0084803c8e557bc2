"""`<variant-id>.model.zip`: the same bytes each time, and refused where it is not as it was written."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from claire.core.command.errors import ClaireError
from claire.core.contracts.archive import ArchiveReader, write_archive
from claire.core.contracts.model import DOCUMENT, ModelDocument, hash_members, read_model, write_model
from hypothesis import given, settings

from tests.support.damage import DAMAGES, damage, damaged
from tests.support.documents import model


def write(path: Path) -> Path:
    """Write the example of a model with members of few bytes."""
    document = model()
    members: dict[str, bytes | Path] = {name: name.encode() for name in document.members}
    hashes = hash_members(members)
    folds = tuple(fold.model_copy(update={"sha256": hashes[fold.weights]}) for fold in document.folds)
    return write_model(path, document.model_copy(update={"folds": folds, "members": hashes}), members)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    return write(tmp_path_factory.mktemp("model") / "v1.model.zip")


@cache
def content() -> bytes:
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "v1.model.zip").read_bytes()


def rewritten(path: Path, target: Path, **changes: bytes | str) -> Path:
    """Write a copy of a model file with other or further members; __ stands for / and _ for . in their names."""
    members: dict[str, bytes | str] = {}
    with ArchiveReader(path, "") as archive:
        members |= {name: archive.read(name) for name in archive.names()}
    members |= {name.replace("__", "/").replace("_", "."): value for name, value in changes.items()}
    with write_archive(target) as writer:
        for name, value in members.items():
            writer.add(name, value)
    return target


def test_a_model_is_read_as_it_was_written_and_repeats_byte_by_byte(path: Path, tmp_path: Path) -> None:
    read = read_model(path)
    assert read.document.variant_id == read.document.variant.id
    for fold in read.document.folds:
        assert read.weights(fold) == fold.weights.encode()
    members = {name: name.encode() for name in read.document.members}
    assert write_model(tmp_path / "again.zip", read.document, members).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_model_is_refused_with_a_remedy(path: Path, tmp_path: Path, how: str) -> None:
    with pytest.raises(ClaireError, match=r"v1\.model\.zip is ") as caught:
        read_model(damage(path, how, tmp_path))
    assert "claire bundle" in caught.value.remedy


@given(damaged(content()))
@settings(max_examples=60)
def test_no_damage_passes_unnoticed(bytes_left: bytes) -> None:
    with TemporaryDirectory() as folder:
        broken = Path(folder) / "v1.model.zip"
        broken.write_bytes(bytes_left)
        try:
            read = read_model(broken)
        except ClaireError:
            return
        whole = Path(folder) / "whole.zip"
        whole.write_bytes(content())
        assert read.document == read_model(whole).document


def test_a_member_of_another_content_is_refused(path: Path, tmp_path: Path) -> None:
    changed = rewritten(path, tmp_path / "v1.model.zip", **{"model-card_md": b"Safe for all patients."})
    with pytest.raises(ClaireError, match=r"checksum mismatch of model-card\.md"):
        read_model(changed)


def test_a_further_member_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ClaireError, match=r"has other members than model\.json says: run\.py"):
        read_model(rewritten(path, tmp_path / "v1.model.zip", run_py=b"import os"))


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../b"])
def test_a_name_that_leads_out_of_the_archive_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "v1.model.zip"
    target.write_bytes(path.read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ClaireError, match="does not write"):
        read_model(target)


def test_a_compressed_member_is_refused(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "v1.model.zip"
    target.write_bytes(path.read_bytes())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 100_000)
    with pytest.raises(ClaireError, match="does not write"):
        read_model(target)


def test_another_schema_version_is_refused(path: Path, tmp_path: Path) -> None:
    later = json.dumps(json.loads(read_model(path).document.to_json()) | {"schema_version": 2})
    with pytest.raises(ClaireError, match="schema version 2: expected 1"):
        read_model(rewritten(path, tmp_path / "v1.model.zip", model_json=later))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant_id": "v0"}, "its variant has the id"),
        ({"members": {}}, "are not among the members"),
        ({"folds": ()}, "folds"),
        ({"classes": ("one",)}, "classes"),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    values = model().model_dump() | change
    with pytest.raises(ValueError, match=message):
        ModelDocument.model_validate(values)


def test_members_other_than_those_of_the_document_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"other members than {DOCUMENT}"):
        write_model(tmp_path / "v1.model.zip", model(), {})
    assert list(tmp_path.iterdir()) == []
