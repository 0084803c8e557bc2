"""Voxels of a DICOM series as HU, decoded into one array."""

from __future__ import annotations

import faulthandler
import mmap
import multiprocessing
import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.pixels.utils import pixel_array

from claire.core.command.errors import RejectedScan
from claire.core.imaging.volume import MOST_BYTES
from claire.core.sources.dicom import DEFLATED, NATIVE, Pixels, Plane, UnreadableHeader, open_dicom
from claire.ingest.hounsfield import check_rescale, to_hu

_MAX_SIDE = 4096
_CHILD_BYTES = 4 * 2**30
_CHILD_SECONDS = 60.0
_SLICE_SECONDS = 3.0
_CANNOT_DECODE = 3


@dataclass(frozen=True)
class Frame:
    """One slice in a file: `index` is its frame number."""

    path: Path
    index: int
    pixels: Pixels
    plane: Plane


def check_pixels(frames: Sequence[Frame]) -> None:
    """Raise RejectedScan (`inconsistent`, `unreadable`, `not_hu`) if the declared voxels cannot form one volume."""
    first = frames[0].pixels
    if any((frame.pixels.rows, frame.pixels.columns) != (first.rows, first.columns) for frame in frames):
        raise RejectedScan("inconsistent", "rows or columns differ between slices")
    if not (0 < first.rows <= _MAX_SIDE and 0 < first.columns <= _MAX_SIDE):
        raise RejectedScan("unreadable", "rows or columns out of range")
    if first.rows * first.columns * 2 * len(frames) > MOST_BYTES:
        raise RejectedScan("unreadable", "the declared volume is larger than 2 GiB")
    for missing in (
        [frame.plane.slope is None for frame in frames],
        [frame.plane.intercept is None for frame in frames],
    ):
        if any(missing) and not all(missing):
            raise RejectedScan("inconsistent", "some slices have no rescale slope or intercept, others do")
    for frame in frames:
        _check_frame(frame.pixels, frame.index)
        check_rescale(*_rescale(frame.plane))


def _rescale(plane: Plane) -> tuple[float, float]:
    """Return slope and intercept; 1 and 0 if no slice gives them; the histogram check then decides."""
    return 1.0 if plane.slope is None else plane.slope, 0.0 if plane.intercept is None else plane.intercept


def _check_frame(pixels: Pixels, index: int) -> None:
    if pixels.start < 0:
        raise RejectedScan("unreadable", "a slice has no pixel data")
    if pixels.samples != 1 or pixels.photometric not in ("MONOCHROME2", ""):
        raise RejectedScan("inconsistent", "a slice is in colour or inverted")
    if pixels.lookup:
        raise RejectedScan("not_hu", "values go through a lookup table instead of slope and intercept")
    if pixels.allocated not in (8, 16, 32) or not 1 <= pixels.stored <= pixels.allocated:
        raise RejectedScan("unreadable", "bits allocated or stored out of range")
    if pixels.native and pixels.length < (index + 1) * pixels.frame_bytes:
        raise RejectedScan("unreadable", "pixel data are cut short")


def read_volume(frames: Sequence[Frame], threads: int) -> np.ndarray:
    """Return (slices, rows, columns) int16 HU of `frames`, in their order.

    Compressed frames are decoded in child processes, up to `threads` at once, because the decoders are native code that
    a hostile file can crash, hang or make run out of memory: then the scan is rejected as `unreadable`, not the run.
    """
    check_pixels(frames)
    shape = (len(frames), frames[0].pixels.rows, frames[0].pixels.columns)
    native = [number for number, frame in enumerate(frames) if frame.pixels.native]
    packed = [number for number, frame in enumerate(frames) if not frame.pixels.native]
    if not packed:
        volume = np.empty(shape, np.int16)
    else:
        volume = np.frombuffer(mmap.mmap(-1, 2 * int(np.prod(shape))), np.int16).reshape(shape)
        _decode_in_children(frames, packed, volume, threads)
    for number in native:
        _convert(_read_native(frames[number]), frames[number], volume[number])
    return volume


def _convert(stored: np.ndarray, frame: Frame, out: np.ndarray) -> None:
    to_hu(stored, *_rescale(frame.plane), frame.pixels.padding, out)


def _read_native(frame: Frame) -> np.ndarray:
    """Return the stored values (rows, columns) of an uncompressed frame."""
    pixels = frame.pixels
    start = pixels.start + frame.index * pixels.frame_bytes
    if pixels.syntax == DEFLATED:
        with open_dicom(frame.path, limit=start + pixels.frame_bytes) as stream:
            stream.seek(start)
            content = stream.read(pixels.frame_bytes)
    else:
        with frame.path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(pixels.frame_bytes)
    if len(content) < pixels.frame_bytes:
        raise RejectedScan("unreadable", "pixel data are cut short")
    values = np.frombuffer(content, f"{NATIVE[pixels.syntax]}{'i' if pixels.signed else 'u'}{pixels.allocated // 8}")
    return _drop_unused_bits(values.reshape(pixels.rows, pixels.columns), pixels)


def _drop_unused_bits(values: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Drop the overlays that old files keep above BitsStored; shifting up and down also extends the sign."""
    unused = pixels.allocated - pixels.stored
    return (values << unused) >> unused if unused else values


def _decode_in_children(frames: Sequence[Frame], numbers: Sequence[int], volume: np.ndarray, threads: int) -> None:

    children = min(threads, len(numbers))
    parts = [numbers[child::children] for child in range(children)]

    def decode(part: Sequence[int]) -> None:
        for number in part:
            frame = frames[number]
            stored = pixel_array(frame.path, index=frame.index, raw=True)
            if stored.shape != volume.shape[1:]:
                raise UnreadableHeader("decoded to another shape")
            _convert(stored, frame, volume[number])

    run_in_children([partial(decode, part) for part in parts], _CHILD_SECONDS + _SLICE_SECONDS * len(parts[0]))


def run_in_children(jobs: Sequence[Callable[[], None]], seconds: float) -> None:
    """Run `jobs` in forked children with limits on memory and time; the result is what they write to shared memory.

    Raises RejectedScan (`unreadable`) if one fails, crashes or takes too long.
    """
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_in_child, args=(job,), daemon=True) for job in jobs]
    for child in children:
        child.start()
    try:
        for child in children:
            child.join(seconds)
            if child.exitcode is None:
                raise RejectedScan("unreadable", "the decoder did not finish")
            if child.exitcode < 0:
                raise RejectedScan("unreadable", "the decoder crashed")
            if child.exitcode:
                raise RejectedScan("unreadable", "compressed pixel data cannot be decoded")
    finally:
        for child in children:
            child.kill()
            child.join()
            child.close()


def _in_child(job: Callable[[], None]) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory()
    try:
        job()
    except BaseException:
        os._exit(_CANNOT_DECODE)
    os._exit(0)


def _limit_memory() -> None:
    """Limit this process to a fixed amount of memory above its current use (if the system reports it)."""
    status = Path("/proc/self/statm")
    if status.exists():
        used = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _CHILD_BYTES, used + _CHILD_BYTES))
