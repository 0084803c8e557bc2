"""Headers of DICOM files: typed values, damaged and hostile files."""

from __future__ import annotations

import tracemalloc
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from claire.core.sources.dicom import NotDicom, UnreadableHeader, read_header, unfit
from claire.ingest.pixels import Frame, read_volume
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.support.dicom_maker import SeriesMaker, chest


def one(folder: Path, **maker: object) -> Path:
    """Write one slice and return its path."""
    made = SeriesMaker(hu=chest(1), **maker)  # type: ignore[arg-type]
    return next(made.write(folder).iterdir())


def test_values_are_typed(tmp_path: Path) -> None:
    header = read_header(one(tmp_path, pixel=0.75))
    (plane,) = header.planes
    assert plane.position == (-120.0, -120.0, -300.0)
    assert plane.spacing == (0.75, 0.75)
    assert (plane.slope, plane.intercept, header.thickness) == (1.0, -1024.0, 2.0)
    assert (header.pixels.rows, header.pixels.allocated, header.pixels.signed) == (48, 16, True)
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_native_syntaxes_give_the_same_voxels(tmp_path: Path, syntax: str) -> None:
    data = SeriesMaker(hu=chest(1)).dataset(0)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if not little:
        data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(tmp_path / "x.dcm", data, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    header = read_header(tmp_path / "x.dcm")
    volume = read_volume([Frame(tmp_path / "x.dcm", 0, header.pixels, header.planes[0])], 1)
    assert np.array_equal(volume, chest(1))


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    data = pydicom.dcmread(one(tmp_path / "in"))
    pydicom.dcmwrite(tmp_path / "x", Dataset(data), implicit_vr=True, little_endian=True)
    header = read_header(tmp_path / "x")
    assert header.series_uid == "1.2.3.200"
    assert header.pixels.length == 48 * 48 * 2


def test_an_identifier_in_another_alphabet_is_decoded(tmp_path: Path) -> None:
    path = one(tmp_path, patient="Müller-7", tags={"SpecificCharacterSet": "ISO_IR 192"})
    assert read_header(path).patient_id == "Müller-7"


def test_malformed_values_count_as_missing_and_warn_nobody(tmp_path: Path) -> None:
    path = one(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"-120.0\\-120.0\\-300.0", b"here\\there\\nowhere00"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(path).planes[0].position is None


@pytest.mark.parametrize("content", [b"", b"x" * 500, b"\0" * 200, b"\x08\0\x05\0" + b"\0" * 100])
def test_other_files_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NotDicom):
        read_header(tmp_path / "x")


def test_a_deflated_bomb_is_not_blown_up(tmp_path: Path) -> None:
    data = pydicom.dcmread(one(tmp_path / "in"))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    content = (tmp_path / "x.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, wbits=-15)
    plain = zlib.decompress(content[start:], -15)
    bomb = packer.compress(plain) + b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    (tmp_path / "x.dcm").write_bytes(content[:start] + bomb)

    tracemalloc.start()
    assert read_header(tmp_path / "x.dcm").pixels.rows == 48
    assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    tracemalloc.stop()


def enhanced(folder: Path, frames: int = 24) -> Path:
    """Write an enhanced CT file of `frames` frames."""
    maker = SeriesMaker(hu=chest(frames))
    data = maker.dataset(0)
    data.SOPClassUID, data.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", frames
    data.PixelData = (maker.hu + 1024).astype("<i2").tobytes()
    shared, measures, orientation, rescale = (Dataset() for _ in range(4))
    measures.PixelSpacing, orientation.ImageOrientationPatient = data.PixelSpacing, data.ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1024
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [rescale]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [frame_group(maker.place(number)) for number in range(frames)]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(data, keyword)
    folder.mkdir(parents=True, exist_ok=True)
    data.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return folder / "enhanced.dcm"


def frame_group(position: list[float]) -> Dataset:
    group, place = Dataset(), Dataset()
    place.ImagePositionPatient = position
    group.PlanePositionSequence = [place]
    return group


def test_an_enhanced_file_has_a_plane_for_each_frame(tmp_path: Path) -> None:
    path = enhanced(tmp_path)
    header = read_header(path)
    assert len(header.planes) == 24
    assert header.planes[3].position == (-120.0, -120.0, -294.0)
    frames = [Frame(path, number, header.pixels, plane) for number, plane in enumerate(header.planes)]
    assert np.array_equal(read_volume(frames, 1), chest(24))


def test_frames_without_a_place_have_no_plane(tmp_path: Path) -> None:
    path = enhanced(tmp_path)
    data = pydicom.dcmread(path)
    data.NumberOfFrames = 1000
    data.save_as(path)
    assert read_header(path).planes == ()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1400), flips=st.lists(st.tuples(st.integers(0, 1400), st.integers(0, 255)), max_size=8))
def test_damaged_files_are_refused_or_read_but_never_crash(
    tmp_path: Path, cut: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(one(tmp_path / "in").read_bytes())
    for place, value in flips:
        content[place] = value
    (tmp_path / "x").write_bytes(content[: len(content) - cut])
    with suppress(NotDicom, UnreadableHeader):
        read_header(tmp_path / "x")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (("CT", "1.2.840.10008.5.1.4.1.1.2", ("ORIGINAL", "PRIMARY", "AXIAL"), "Thorax"), ""),
        (("", "", (), ""), ""),
        (("CT", "", ("DERIVED", "PRIMARY", "LOCALIZER"), ""), "localiser"),
        (("CT", "", (), "scout lateral"), "localiser"),
        (("CT", "1.2.840.10008.5.1.4.1.1.7", (), ""), "not_ct"),
        (("CT", "", ("DERIVED", "SECONDARY", "MPR"), ""), "not_ct"),
        (("Doe^Jane", "", (), ""), "not_ct"),
    ],
)
def test_a_header_tells_what_is_no_stack_of_ct_slices(header: tuple, reason: str) -> None:
    found, detail = unfit(*header)
    assert found == reason
    assert "Doe" not in detail
