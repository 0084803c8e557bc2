"""Headers of DICOM files: only the elements that the pipeline needs, read from files that may be hostile.

Values are decoded from their raw bytes here, not by pydicom's converters: their warnings and errors quote header
values, which identify patients.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

CT_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.2{tail}" for tail in ("", ".1", ".2"))
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
#: DICOM objects that are no images of a scanner: what they are, their modalities, the storage SOP classes (PS3.4 B.5).
_OBJECTS = (
    ("segmentation (SEG)", ("SEG",), ("66.4", "66.5", "66.7", "66.8")),
    ("structure set (RTSTRUCT)", ("RTSTRUCT",), ("481.3",)),
    ("dose distribution (RTDOSE)", ("RTDOSE",), ("481.2",)),
    ("object of radiotherapy", ("RTPLAN", "RTRECORD", "RTINTENT", "RTIMAGE", "PLAN"), ("481.",)),
    ("structured report (SR)", ("SR", "KO"), ("88.",)),
    ("presentation state (PR)", ("PR",), ("11.",)),
    ("registration or fiducials (REG, FID)", ("REG", "FID"), ("66.1", "66.2", "66.3")),
    ("raw data or mapping of values", ("RWV",), ("66", "67")),
    ("document (DOC)", ("DOC",), ("104.",)),
    ("waveform", ("ECG", "EPS", "HD", "AU"), ("9.",)),
)
DEFLATED = "1.2.840.10008.1.2.1.99"
#: Transfer syntaxes with uncompressed pixels, and their byte order.
NATIVE = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    DEFLATED: "<",
    "1.2.840.10008.1.2.2": ">",
    "1.2.840.113619.5.2": "<",
}
_TAGS = {
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "study_date": 0x00080020,
    "accession": 0x00080050,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "physician": 0x00080090,
    "study_description": 0x00081030,
    "description": 0x0008103E,
    "model": 0x00081090,
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
    "other_ids": 0x00101000,
    "age": 0x00101010,
    "thickness": 0x00180050,
    "kernel": 0x00181210,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "acquisition": 0x00200012,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "frame_uid": 0x00200052,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "spacing": 0x00280030,
    "allocated": 0x00280100,
    "stored": 0x00280101,
    "signed": 0x00280103,
    "padding": 0x00280120,
    "padding_limit": 0x00280121,
    "quality_control": 0x00280300,
    "burned_in": 0x00280301,
    "intercept": 0x00281052,
    "slope": 0x00281053,
    "modality_lut": 0x00283000,
    "shared_groups": 0x52009229,
    "frame_groups": 0x52009230,
}
_HEAD_LIMIT = 16 * 2**20
_TEXT_LIMIT = 1024
_FRAME_LIMIT = 20_000
_PIXEL_TAG = (0x7FE0, 0x0010)
_LONG_VRS = {b"OB", b"OW", b"OF", b"OD", b"UN"}
_BINARY_VRS = {None, "US", "SS", "UL", "SL", "OW", "OB", "UN", "AT"}
_PROJECTIONS = {
    *("MIP", "MINIP", "MPR", "CPR", "VRT", "SSD", "AVERAGE", "REFORMATTED", "CURVED", "PROJECTION", "RENDERED"),
    *("VOLREN", "3D", "SCREEN", "SAVE", "FUSION", "SUBTRACT", "SUBTRACTION"),
}
_LOCALISER = re.compile(r"\b(locali[sz]er|scout|topogram|surview|scanogram)\b", re.IGNORECASE)

Vector = tuple[float, ...]
#: What decoding hostile bytes may raise in pydicom, struct and zlib. Anything else is a bug and is not caught.
DECODING_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError, EOFError),
    *(RecursionError, LookupError, AssertionError, struct.error, zlib.error, InvalidDicomError, BytesLengthException),
)


class NotDicom(Exception):
    """The file is not a DICOM file at all."""


class UnreadableHeader(Exception):
    """A DICOM file that cannot be read. The message gives the cause and quotes nothing of the header."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Position of one slice and conversion of its stored values to HU.

    `position` (3, mm), `orientation` (row and column direction, 6) are LPS; `spacing` is (between rows, between
    columns) in mm; HU = `slope` · stored + `intercept`. Each is None if the header does not give it.
    """

    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    slope: float | None
    intercept: float | None


@dataclass(frozen=True, slots=True)
class Pixels:
    """How the voxels of a file are stored; `start` and `length` are bytes, −1 without native voxels."""

    syntax: str
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    padding: tuple[int, int] | None
    lookup: bool
    start: int
    length: int

    @property
    def native(self) -> bool:
        """Whether the voxels are stored uncompressed."""
        return self.syntax in NATIVE

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.samples * self.allocated // 8


@dataclass(frozen=True, slots=True)
class Header:
    """What the pipeline reads from one DICOM file. Identifying: it stays in memory and in files of the data site."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    frame_uid: str
    modality: str
    image_type: tuple[str, ...]
    study_description: str
    description: str
    acquisition: str
    patient_id: str
    issuer: str
    sex: str
    birth_date: str
    age: str
    study_date: str
    names: tuple[str, ...]
    vendor: str
    model: str
    kernel: str
    thickness: float | None
    quality_control: bool
    burned_in: bool
    planes: tuple[Plane, ...]
    pixels: Pixels


def read_header(path: Path) -> Header:
    """Read the header of one file, its pixels excluded.

    Raises NotDicom if the file is something else (or a DICOMDIR) and UnreadableHeader where it is damaged.
    """
    try:
        with open_dicom(path) as stream:
            return _read(stream)
    except DECODING_ERRORS as error:
        raise UnreadableHeader(f"damaged header ({type(error).__name__})") from error


@contextmanager
def open_dicom(path: Path, limit: int = _HEAD_LIMIT) -> Iterator[BinaryIO]:
    """Open a DICOM file, inflating a deflated one (at most `limit` bytes of its data set: it may be a bomb).

    Raises NotDicom if the first bytes are not those of a DICOM file.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        if not _looks_like_dicom(head):
            raise NotDicom
        file.seek(0)
        if DEFLATED.encode() in head:
            yield _inflate(file, head, limit)
        else:
            yield file


def _looks_like_dicom(head: bytes) -> bool:
    if head[128:132] == b"DICM":
        return True
    group, element = struct.unpack("<HH", head[:4]) if len(head) > 8 else (0, 0)
    return group in (0x0002, 0x0008) and element < 0x0100


def _inflate(file: BinaryIO, head: bytes, limit: int) -> BinaryIO:
    start = 144 + struct.unpack_from("<L", head, 140)[0]
    if not 144 <= start <= len(head):
        raise UnreadableHeader("damaged file meta information")
    plain = head[:start].replace(DEFLATED.encode(), b"1.2.840.10008.1.2.1\0\0\0")
    file.seek(start)
    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), limit)
    return io.BytesIO(plain + data)


def _read(stream: BinaryIO) -> Header:
    data = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[*_TAGS.values()])
    syntax = str(data.file_meta.get("TransferSyntaxUID", "")).strip("\0 ")
    if isinstance(stream, io.BytesIO):
        syntax = DEFLATED
    elif not syntax:
        implicit, little = data.original_encoding
        syntax = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
    values = _Values(data)
    if not (values.text("modality") or values.text("sop_class") or values.text("series_uid")):
        raise UnreadableHeader("no series in its header") if data.preamble else NotDicom
    if DICOMDIR_CLASS in (values.text("sop_class"), str(data.file_meta.get("MediaStorageSOPClassUID", ""))):
        raise NotDicom
    start, length = _pixel_location(stream, bool(data.original_encoding[0]), bool(data.original_encoding[1]))
    return _header(values, _pixels(values, syntax, start, length))


def _pixel_location(stream: BinaryIO, implicit: bool, little: bool) -> tuple[int, int]:
    """Return (first byte, length) of the pixel data at the stream's position; (−1, −1) if there are none."""
    order, head = "<" if little else ">", stream.read(12)
    if len(head) < 12 or struct.unpack_from(order + "HH", head) != _PIXEL_TAG:
        return -1, -1
    if implicit:
        stream.seek(-4, 1)
        return stream.tell(), struct.unpack_from(order + "L", head, 4)[0]
    if head[4:6] not in _LONG_VRS:
        return -1, -1
    return stream.tell(), struct.unpack_from(order + "L", head, 8)[0]


class _Values:
    """Typed values of a data set by the names of `_TAGS`, decoded from raw bytes; malformed values count as missing."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def texts(self, name: str) -> list[str]:
        raw = self._bytes(name)
        return [part.strip(" \0") for part in raw[:_TEXT_LIMIT].decode("latin-1").split("\\")] if raw else []

    def text(self, name: str) -> str:
        return next(iter(self.texts(name)), "")

    def name(self, name: str) -> str:
        """Return a text in the character set of the file: identifiers must equal the same text in a table."""
        raw = self._bytes(name) or b""
        if raw.isascii():
            return raw[:_TEXT_LIMIT].decode("ascii").strip(" \0")
        try:
            return str(self._data[_TAGS[name]].value)[:_TEXT_LIMIT].strip(" \0")
        except DECODING_ERRORS:
            return raw[:_TEXT_LIMIT].decode("latin-1").strip(" \0")

    def numbers(self, name: str, count: int) -> Vector | None:
        return parse_numbers(self.texts(name), count)

    def number(self, name: str) -> float | None:
        numbers = parse_numbers(self.texts(name)[:1], 1)
        return numbers[0] if numbers else None

    def integer(self, name: str, default: int = 0) -> int:
        raw, element = self._bytes(name), self._element(name)
        if not raw:
            return default
        if element.VR not in _BINARY_VRS:
            return int(number) if (number := self.number(name)) is not None else default
        signed = element.VR in ("SS", "SL")
        return int.from_bytes(
            raw[:2] if len(raw) < 4 else raw[:4], "little" if element.is_little_endian else "big", signed=signed
        )

    def groups(self, name: str) -> Sequence[Any]:
        """Items of a sequence, converted by pydicom."""
        element = self._element(name)
        return () if element is None else self._data[_TAGS[name]].value or ()

    def holds(self, name: str) -> bool:
        return self._element(name) is not None

    def _element(self, name: str) -> Any:
        return self._data.get_item(_TAGS[name]) if _TAGS[name] in self._data else None

    def _bytes(self, name: str) -> bytes | None:
        element = self._element(name)
        value = None if element is None else element.value
        return value if isinstance(value, bytes) else None


def parse_numbers(texts: Sequence[Any], count: int) -> Vector | None:
    """Return `count` finite numbers, or None if there are fewer, more or others."""
    try:
        numbers = tuple(float(text) for text in texts)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _header(values: _Values, pixels: Pixels) -> Header:
    text = values.text
    return Header(
        study_uid=text("study_uid"),
        series_uid=text("series_uid"),
        sop_uid=text("sop_uid"),
        sop_class=text("sop_class"),
        frame_uid=text("frame_uid"),
        modality=text("modality").upper(),
        image_type=tuple(part.upper() for part in values.texts("image_type")),
        study_description=values.name("study_description"),
        description=values.name("description"),
        acquisition=text("acquisition"),
        patient_id=values.name("patient_id"),
        issuer=values.name("issuer"),
        sex=text("sex").upper(),
        birth_date=text("birth_date"),
        age=text("age"),
        study_date=text("study_date"),
        names=tuple(values.name(key) for key in ("patient_name", "other_ids", "accession", "physician")),
        vendor=text("manufacturer"),
        model=text("model"),
        kernel=text("kernel"),
        thickness=values.number("thickness"),
        quality_control=text("quality_control").upper() == "YES",
        burned_in=text("burned_in").upper() == "YES",
        planes=_planes(values),
        pixels=pixels,
    )


def _pixels(values: _Values, syntax: str, start: int, length: int) -> Pixels:
    signed = values.integer("signed") == 1
    allocated = values.integer("allocated")
    return Pixels(
        syntax=syntax,
        rows=values.integer("rows"),
        columns=values.integer("columns"),
        samples=values.integer("samples", 1),
        allocated=allocated,
        stored=values.integer("stored", allocated),
        signed=signed,
        photometric=values.text("photometric").upper(),
        padding=_padding(values, signed, allocated),
        lookup=values.holds("modality_lut"),
        start=start,
        length=length,
    )


def _padding(values: _Values, signed: bool, allocated: int) -> tuple[int, int] | None:
    """Return the stored values, first and last, that mean "no voxel here" (PS3.3 C.7.5.1.1.2)."""
    if not values.holds("padding"):
        return None
    first = values.integer("padding")
    last = values.integer("padding_limit", first)
    if signed:
        first, last = (_as_signed(value, allocated) for value in (first, last))
    return min(first, last), max(first, last)


def _as_signed(value: int, bits: int) -> int:
    return value - (1 << bits) if 0 < bits <= 32 and value >= 1 << (bits - 1) else value


def _planes(values: _Values) -> tuple[Plane, ...]:
    """Return one plane per frame, or none if the header contradicts itself.

    An enhanced file has them in functional groups, shared or one per frame (PS3.3 C.7.6.16).
    """
    if values.holds("frame_groups"):
        shared = next(iter(values.groups("shared_groups")), None)
        frames = values.groups("frame_groups")
        if len(frames) > _FRAME_LIMIT or len(frames) != values.integer("frames", 1):
            return ()
        return tuple(_enhanced_plane(frame, shared) for frame in frames)
    if values.integer("frames", 1) > 1:
        return ()
    return (
        Plane(
            values.numbers("position", 3),
            values.numbers("orientation", 6),
            values.numbers("spacing", 2),
            values.number("slope"),
            values.number("intercept"),
        ),
    )


def _enhanced_plane(frame: Any, shared: Any) -> Plane:
    def find(group: str, name: str, count: int) -> Vector | None:
        for item in (frame, shared):
            sequence = item.get(group) if item is not None else None
            value = sequence[0].get(name) if sequence else None
            if value is not None:
                return parse_numbers(value if count > 1 else [value], count)
        return None

    slope = find("PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = find("PixelValueTransformationSequence", "RescaleIntercept", 1)
    return Plane(
        find("PlanePositionSequence", "ImagePositionPatient", 3),
        find("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        find("PixelMeasuresSequence", "PixelSpacing", 2),
        slope[0] if slope else None,
        intercept[0] if intercept else None,
    )


def object_kind(modality: str, sop_class: str) -> str:
    """Return what a DICOM object without images of a scanner is (SEG, RTSTRUCT, SR, …); "" for images."""
    number = sop_class.removeprefix(_STORAGE) if sop_class.startswith(_STORAGE) else ""
    for kind, modalities, classes in _OBJECTS:
        if modality in modalities or number in classes or number.startswith(_families(classes)):
            return kind
    return ""


def _families(classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in classes if each.endswith("."))


def unfit(modality: str, sop_class: str, image_type: Sequence[str], description: str) -> tuple[str, str]:
    """Return (reason, detail) if the header rules out a stack of CT slices, else ("", "").

    Reasons: `not_ct`, `localiser`. The detail quotes nothing of the header but known words. A missing modality is not
    a reason: the histogram check decides.
    """
    tokens = {word for part in image_type for word in re.split(r"[^A-Z0-9]+", part)}
    if modality not in ("CT", ""):
        return "not_ct", f"modality {modality if re.fullmatch('[A-Z]{2,10}', modality) else 'unknown'}"
    if "LOCALIZER" in tokens or "SCOUT" in tokens or _LOCALISER.search(description):
        return "localiser", ""
    if sop_class and sop_class not in CT_CLASSES:
        return "not_ct", "not a CT image by its SOP class"
    if projections := sorted(tokens & _PROJECTIONS):
        return "not_ct", f"projection or reformatted image ({projections[0]})"
    return "", ""
