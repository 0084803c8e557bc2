"""Views of scans, epochs drawn from (seed, epoch, scan), augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.healed import Alteration
from claire.core.networks.input import to_input
from claire.core.networks.view import cut_hu, make_view
from claire.train import loading
from claire.train.loading import Item, Views, batches, epoch_batches, gather, prefetch, to_image

from tests.support.synthetic import CohortFiles

CPU = torch.device("cpu")


@pytest.fixture
def cohort(cohort_files: CohortFiles) -> Cohort:
    return open_cohort(cohort_files.cohort)


def variant(**more: object) -> Variant:
    return Variant(**{"size": 24, "slices": 4, **more})


def epoch(views: Views, variant: Variant, number: int) -> list[torch.Tensor]:
    return [images for images, _, _ in batches(views, epoch_batches(views, variant, number), variant, CPU)]


@pytest.mark.parametrize(
    "more", [{}, {"view": "lungs"}, {"view": "whole", "normalisation": "slice"}, {"dimensions": "3D"}]
)
def test_without_augmentation_it_is_the_view_that_is_explained(cohort: Cohort, more: dict[str, str]) -> None:
    settings = variant(**more)
    views = Views(cohort, cohort.scans, settings)
    plain = [Item(1, np.arange(settings.slices))]
    image = to_image(gather(views, plain), settings, plain)
    assert torch.equal(image[0], to_input(torch.from_numpy(cut_hu(cohort, cohort.scans[1], settings)), settings))
    view = make_view(cohort, cohort.scans[1], settings)
    explained = to_input(torch.from_numpy(view.hu), settings, torch.from_numpy(view.lungs > 0))
    torch.testing.assert_close(image[0], explained, atol=1e-6, rtol=0)


def test_the_even_spread_lies_among_the_candidates(cohort: Cohort) -> None:
    settings = variant(slices=2)
    jittered, even = Views(cohort, cohort.scans, settings, jitter=True), Views(cohort, cohort.scans, settings)
    assert np.array_equal(jittered[3][loading.CANDIDATES // 2 :: loading.CANDIDATES], even[3])


def test_views_too_large_for_memory_are_mapped_from_a_file(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = Views(cohort, cohort.scans, variant())
    monkeypatch.setattr(loading, "MEMORY_BYTES", 0)
    mapped = Views(cohort, cohort.scans, variant())
    assert isinstance(mapped[2], np.memmap)
    assert np.array_equal(mapped[2], in_memory[2])


def test_an_epoch_holds_every_scan_once(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    plan = epoch_batches(views, variant(batch_size=5), 0)
    assert sorted(item.index for items in plan for item in items) == list(range(len(views)))
    assert {len(items) for items in plan} == {4, 5}


def test_no_scan_is_left_alone_in_the_last_batch(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans[:9], variant())
    assert [len(items) for items in epoch_batches(views, variant(batch_size=4), 0)] == [3, 3, 3]


def test_inherited_labels_draw_slices(cohort: Cohort) -> None:
    settings = variant(labels="inherited", batch_size=16)
    views = Views(cohort, cohort.scans, settings)
    images = epoch(views, settings, 0)
    assert sum(len(part) for part in images) == 4 * len(views)
    assert images[0].shape[1:] == (1, 24, 24)


def test_an_epoch_is_the_same_again_and_the_next_one_another(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant(), jitter=True)
    first, again, second = (epoch(views, variant(), number)[0] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_interrupted_epoch_goes_on_with_the_same_batches(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant(), jitter=True)
    remaining = epoch_batches(views, variant(), 1)[2:]
    images = [part for part, _, _ in batches(views, remaining, variant(), CPU)]
    assert all(map(torch.equal, images, epoch(views, variant(), 1)[2:]))


def test_seeds_differ(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    assert not torch.equal(epoch(views, variant(seed=1), 0)[0], epoch(views, variant(seed=2), 0)[0])


def test_augmented_images_stay_in_range(cohort: Cohort) -> None:
    images = torch.cat(epoch(Views(cohort, cohort.scans, variant()), variant(), 0))
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) >= (0.0, 0.0)
    assert float(images.max()) <= 1.0


def test_a_flip_mirrors_columns_and_nothing_else(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    plain, flipped = Item(1, np.arange(4)), Item(1, np.arange(4), flip=True)
    hu = gather(views, [plain, flipped])
    images = to_image(hu, variant(), [plain, flipped])
    assert torch.equal(images[1], images[0].flip(-1))


def test_the_identity_transform_changes_nothing(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    still = Item(1, np.arange(4), theta=np.eye(2, 3, dtype=np.float32))
    hu = gather(views, [still])
    torch.testing.assert_close(to_image(hu, variant(), [still]), to_input(hu, variant()), atol=1e-4, rtol=0)


def test_without_augmentation_every_epoch_shows_the_same_images(cohort: Cohort) -> None:
    settings = variant(augmentation="none", batch_size=100)
    views = Views(cohort, cohort.scans, settings)
    sums = [torch.sort(epoch(views, settings, number)[0].sum((1, 2, 3))).values for number in (0, 1)]
    assert torch.equal(*sums)


def test_prefetching_keeps_order_and_passes_errors_on() -> None:
    assert list(prefetch(range(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        list(prefetch(1 // x for x in (1, 0)))


def test_healed_copies_come_beside_the_scans_and_are_marked(cohort: Cohort) -> None:
    settings = variant(augmentation="healed", batch_size=3)
    views = Views(cohort, cohort.scans, settings, jitter=True)
    drawn = [item for items in epoch_batches(views, settings, 0) for item in items]
    copies = [item for item in drawn if item.healed]
    assert sorted(item.index for item in drawn if not item.healed) == list(range(len(views)))
    assert 0 < len(copies) < len(views)
    assert all(np.issubdtype(item.slices.dtype, np.integer) for item in copies)
    marked = [(int(i), bool(h)) for _, indices, healed in batches(views, [drawn[:6]], settings, CPU)
              for i, h in zip(indices, healed, strict=True)]  # fmt: skip
    assert marked == [(item.index, item.healed) for item in drawn[:6]]


def test_a_healed_copy_has_no_opacity(cohort: Cohort) -> None:
    settings = variant(augmentation="healed", size=32, slices=8, view="whole")
    views = Views(cohort, cohort.scans, settings)
    plain = Item(1, np.arange(8))
    healed = Item(1, np.arange(8), alteration=Alteration(True, "constant", 0))
    before, after = gather(views, [plain, healed])
    lungs = make_view(cohort, cohort.scans[1], settings).lungs > 0
    assert ((before > -600).numpy() & lungs).sum() > 20
    assert ((after > -600).numpy() & lungs).sum() < 3


def test_healed_draws_leave_those_of_other_augmentations_as_they_were(cohort: Cohort) -> None:
    standard, healed = (
        [item for items in epoch_batches(Views(cohort, cohort.scans, one, True), one, 1) for item in items]
        for one in (variant(), variant(augmentation="healed"))
    )
    first = {item.index: item.slices.tolist() for item in standard}
    assert {item.index: item.slices.tolist() for item in healed if not item.healed} == first
