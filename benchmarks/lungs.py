"""The lung mask: seconds against a classical SimpleITK pipeline, recall and over-inclusion on diseased phantoms, Dice.

    python benchmarks/lungs.py [slices]

The phantoms' truth counts every voxel of lung, lesions included. With CLAIRE_REAL_DATA set to a folder of public scans
with masks, the Dice of each is printed too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from claire.commands.phantom.patient import MEDIUM, SHARP, SMOOTH, make_patient
from claire.core.imaging.volume import Volume
from claire.segment.lungs import segment_lungs

PAIRS = {"ct": "lung_mask", "example_ct": "lung_*_lobe_*"}


def main(slices: int) -> None:
    """Print the table of times, then recall and over-inclusion, then Dice where there are real scans."""
    volume = stretched(slices)
    seconds = {"claire": timed(segment_lungs, volume), "SimpleITK": timed(simple_itk, volume)}
    print(f"{slices} slices of 512 x 512: " + ", ".join(f"{name} {took:.1f} s" for name, took in seconds.items()))
    print(f"ratio {seconds['SimpleITK'] / seconds['claire']:.1f}\n\n{'diseased phantom':24} recall  over-inclusion")
    rows = []
    for seed in range(9):
        kernel = (SMOOTH, MEDIUM, SHARP)[seed % 3]
        phantom = make_patient(seed, seed % 2 == 0, 256, 48, kernel)
        rows.append(shares(segment_lungs(Volume(phantom.render(), phantom.affine))[0], phantom.lungs))
        print(f"{seed:4d} {kernel.name:19} {rows[-1][0]:6.3f}  {rows[-1][1]:6.3f}")
    print(f"{'mean':24} {np.mean(rows, 0)[0]:6.3f}  {np.mean(rows, 0)[1]:6.3f}")
    if root := os.environ.get("CLAIRE_REAL_DATA"):
        print(f"\n{'real scan':24}   Dice")
        for name, scan, truth in real_scans(Path(root)):
            mask = segment_lungs(scan)[0] > 0
            print(f"{name:24} {2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()):6.3f}")


def stretched(slices: int) -> Volume:
    """Return a phantom of 512 × 512 whose slices are repeated, with noise of their own, to the wanted number."""
    phantom = make_patient(0, True, 512, 50, MEDIUM)
    place = np.arange(slices) * 50 // slices
    data, rng = phantom.render()[place], np.random.default_rng(0)
    for section in data:
        section += rng.normal(0, 20, section.shape).astype(np.int16)
    return Volume(data, phantom.affine @ np.diag([1, 1, 50 / slices, 1]))


def timed(function: object, volume: Volume) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(volume)  # type: ignore[operator]
    return time.perf_counter() - start


def simple_itk(volume: Volume) -> np.ndarray:
    """Segment as most scripts do: threshold, what the border does not touch, two largest pieces, closing."""
    image = sitk.GetImageFromArray(volume.data)
    air = sitk.BinaryThreshold(image, -2000, -400)
    inside = sitk.ConnectedComponent(sitk.And(air, sitk.BinaryGrindPeak(air) == 0))
    pieces = sitk.RelabelComponent(inside)
    lungs = sitk.And(pieces >= 1, pieces <= 2)
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(lungs, (8, 8, 3))))


def shares(mask: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return which share of the true lung is inside the mask, and how much else, both over the true lung."""
    found, lung = mask > 0, truth > 0
    return np.count_nonzero(found & lung) / lung.sum(), np.count_nonzero(found & ~lung) / lung.sum()


def real_scans(root: Path) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """Yield (name, scan, true lung) of the NIfTI scans `*_ct*.nii.gz` that have masks beside them."""
    for path in sorted(root.glob("lung_masks_*/*ct*.nii.gz")):
        pattern = next((mask for ct, mask in PAIRS.items() if path.name == f"{ct}.nii.gz"), None)
        masks = path.parent.glob(f"{pattern}.nii.gz" if pattern else path.name.replace("_ct", "_lung_mask"))
        image = nib.load(path)
        truth = np.any([np.asanyarray(nib.load(mask).dataobj).T > 0 for mask in masks], axis=0)
        yield path.parent.name, Volume(np.asanyarray(image.dataobj).T.astype(np.int16), image.affine), truth


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
