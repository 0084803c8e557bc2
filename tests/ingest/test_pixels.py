"""Decoding apart: a decoder that crashes or hangs costs one scan."""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from claire.core.command.errors import RejectedScan
from claire.core.sources.dicom import Pixels, Plane
from claire.ingest.pixels import Frame, check_pixels, read_volume, run_in_children

PIXELS = Pixels("1.2.840.10008.1.2.1", 4, 4, 1, 16, 12, False, "MONOCHROME2", None, False, 0, 32)
PLANE = Plane((0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0), (1.0, 1.0), 1.0, -1024.0)


def test_children_write_into_shared_memory() -> None:
    shared = np.frombuffer(mmap.mmap(-1, 16), np.int64)
    run_in_children([lambda: shared.__setitem__(0, 7), lambda: shared.__setitem__(1, 8)], 10)
    assert shared.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (lambda: os.abort(), "crashed"),
        (lambda: time.sleep(60), "did not finish"),
        (lambda: np.ones(10**11), "cannot be decoded"),
        (lambda: 1 / 0, "cannot be decoded"),
    ],
)
def test_a_decoder_that_fails_costs_one_scan(job, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RejectedScan, match=told):
        run_in_children([job], 0.5)
    assert capfd.readouterr() == ("", "")


def test_bits_above_those_stored_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(np.full(16, 0xF123, "<u2").tobytes())
    assert (read_volume([Frame(tmp_path / "x", 0, PIXELS, PLANE)], 1) == 0x123 - 1024).all()
    signed = replace(PIXELS, signed=True)
    (tmp_path / "x").write_bytes(np.full(16, 0x0FFF, "<u2").tobytes())
    assert (read_volume([Frame(tmp_path / "x", 0, signed, PLANE)], 1) == -1 - 1024).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 31},
        {"start": -1},
        {"rows": 10**6},
        {"stored": 17},
        {"allocated": 12},
        {"samples": 3},
        {"photometric": "MONOCHROME1"},
        {"lookup": True},
    ],
)
def test_what_cannot_be_one_volume_is_refused_before_memory_is_taken(wrong: dict) -> None:
    with pytest.raises(RejectedScan):
        check_pixels([Frame(Path("x"), 0, replace(PIXELS, **wrong), PLANE)])


@pytest.mark.parametrize("missing", ["slope", "intercept"])
def test_slices_of_which_some_tell_no_rescaling_are_refused(missing: str) -> None:
    silent = replace(PLANE, **{missing: None})
    check_pixels([Frame(Path("x"), 0, PIXELS, silent)] * 2)
    with pytest.raises(RejectedScan, match="inconsistent: some slices have no rescale"):
        check_pixels([Frame(Path("x"), 0, PIXELS, plane) for plane in (PLANE, silent)])


def test_a_volume_of_many_gigabytes_is_refused() -> None:
    pixels = replace(PIXELS, rows=4096, columns=4096, length=2**31)
    with pytest.raises(RejectedScan, match="2 GiB"):
        check_pixels([Frame(Path("x"), 0, pixels, PLANE)] * 200)
