"""Views kept for training, epochs drawn from (seed, epoch, scan), augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from claire.core.contracts.cohort import Cohort, open_cohort
from claire.core.contracts.variant import Variant
from claire.core.networks.view import make_view
from claire.train import loading
from claire.train.loading import Item, Views, ahead, batches, cut, epoch_batches, gather, to_image

from tests.support.synthetic import Made

CPU = torch.device("cpu")


@pytest.fixture
def cohort(made: Made) -> Cohort:
    return open_cohort(made.cohort)


def variant(**more: object) -> Variant:
    return Variant(**{"size": 24, "slices": 4, **more})


def epoch(views: Views, made_for: Variant, number: int) -> list[torch.Tensor]:
    return [images for images, _ in batches(views, epoch_batches(views, made_for, number), made_for, CPU)]


@pytest.mark.parametrize(
    "more", [{}, {"view": "lungs"}, {"view": "whole", "normalisation": "slice"}, {"dimensions": "3D"}]
)
def test_without_augmentation_it_is_the_view_that_is_explained(cohort: Cohort, more: dict[str, str]) -> None:
    chosen = variant(**more)
    image = to_image(torch.from_numpy(cut(cohort, cohort.scans[1], chosen)[None]), chosen)
    np.testing.assert_allclose(image[0], make_view(cohort, cohort.scans[1], chosen).image(chosen), atol=1e-6)


def test_the_even_spread_lies_among_the_candidates(cohort: Cohort) -> None:
    chosen = variant(slices=2)
    wide, even = Views(cohort, cohort.scans, chosen, jitter=True), Views(cohort, cohort.scans, chosen)
    assert np.array_equal(wide[3][loading.JITTER // 2 :: loading.JITTER], even[3])


def test_views_that_memory_does_not_hold_lie_in_a_file(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Views(cohort, cohort.scans, variant())
    monkeypatch.setattr(loading, "KEPT_BYTES", 0)
    mapped = Views(cohort, cohort.scans, variant())
    assert isinstance(mapped[2], np.memmap)
    assert np.array_equal(mapped[2], kept[2])


def test_an_epoch_holds_every_scan_once(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    plan = epoch_batches(views, variant(batch=5), 0)
    assert sorted(item.place for items in plan for item in items) == list(range(len(views)))
    assert {len(items) for items in plan} == {4, 5}


def test_no_scan_is_left_alone_in_the_last_batch(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans[:9], variant())
    assert [len(items) for items in epoch_batches(views, variant(batch=4), 0)] == [3, 3, 3]


def test_inherited_labels_draw_slices(cohort: Cohort) -> None:
    chosen = variant(labels="inherited", batch=16)
    views = Views(cohort, cohort.scans, chosen)
    images = epoch(views, chosen, 0)
    assert sum(len(part) for part in images) == 4 * len(views)
    assert images[0].shape[1:] == (1, 24, 24)


def test_an_epoch_is_the_same_again_and_the_next_one_another(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant(), jitter=True)
    first, again, second = (epoch(views, variant(), number)[0] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_interrupted_epoch_goes_on_with_the_same_batches(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant(), jitter=True)
    rest = epoch_batches(views, variant(), 1)[2:]
    images = [part for part, _ in batches(views, rest, variant(), CPU)]
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


def test_an_identical_move_changes_nothing(cohort: Cohort) -> None:
    views = Views(cohort, cohort.scans, variant())
    still = Item(1, np.arange(4), theta=np.eye(2, 3, dtype=np.float32))
    hu = gather(views, [still])
    torch.testing.assert_close(to_image(hu, variant(), [still]), to_image(hu, variant()), atol=1e-4, rtol=0)


def test_without_augmentation_every_epoch_shows_the_same_images(cohort: Cohort) -> None:
    chosen = variant(augmentation="none", batch=100)
    views = Views(cohort, cohort.scans, chosen)
    sums = [torch.sort(epoch(views, chosen, number)[0].sum((1, 2, 3))).values for number in (0, 1)]
    assert torch.equal(*sums)


def test_reading_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        list(ahead(1 // x for x in (1, 0)))
