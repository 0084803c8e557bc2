"""Maps and the network as a function of HU, on tiny networks of either kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from claire.core.contracts.variant import Variant
from claire.core.networks.build import build_network
from claire.core.networks.input import to_input
from claire.core.networks.view import cut_hu
from claire.core.statistics.decisions import decide
from claire.explain import probe
from claire.explain.lesions.interventions import lung_statistics
from claire.explain.maps import attribution
from claire.explain.probe import log_odds, log_odds_of

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def healthy(trained: Trained) -> np.ndarray:
    case = trained.case("positive")
    return lung_statistics(case, np.zeros(case.lungs.shape, bool))[0]


def lesion(trained: Trained) -> np.ndarray:
    case = trained.case("positive")
    return (case.view.hu > -600) & (case.view.lungs > 0)


@pytest.mark.parametrize("change", [{}, {"view": "lungs"}, {"normalisation": "slice"}])
def test_the_differentiable_input_is_the_one_that_training_saw(trained: Trained, change: dict) -> None:
    if trained.variant.dimensions == "3D" and "normalisation" in change:
        change = {}
    variant: Variant = trained.variant.model_copy(update=change)
    case = trained.case("positive")
    cut = torch.from_numpy(cut_hu(trained.cohort, case.scan, variant))
    seen = to_input(case.hu, variant, case.lungs)
    np.testing.assert_allclose(seen.numpy(), to_input(cut, variant).numpy(), atol=1e-6)


def test_slices_embedded_one_by_one_and_pooled_give_the_same_logits(
    cohort_files: CohortFiles, trained: Trained
) -> None:
    case = trained.case("positive")
    if trained.probe.slicewise:
        features = trained.probe.embed(list(case.hu), list(case.lungs))
        pooled = trained.probe.pool([torch.stack(features)])[0]
        np.testing.assert_allclose(pooled, trained.probe.scan_logits(case), atol=1e-5)
    else:
        assert trained.variant.dimensions == "3D"


def test_gradients_of_many_slices_are_the_same_in_chunks(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    case = trained.case("positive")

    def slope() -> torch.Tensor:
        image = to_input(case.hu, trained.variant, case.lungs)[None].requires_grad_(True)
        return torch.autograd.grad(log_odds(trained.probe.logits_of_input(image), 1).sum(), image)[0]

    whole = slope()
    monkeypatch.setattr(probe, "CHUNK_VOXELS", 2 * 32 * 32)
    torch.testing.assert_close(slope(), whole)


@pytest.mark.parametrize("method", ["grad_cam", "integrated_gradients"])
def test_a_map_is_strongest_at_the_lesion(trained: Trained, method: str) -> None:
    case = trained.case("positive")
    calls: dict[str, Callable[[], np.ndarray]] = {
        "grad_cam": lambda: attribution.grad_cam(trained.probe, case, 1),
        "integrated_gradients": lambda: attribution.integrated_gradients(trained.probe, case, healthy(trained), 1, 8),
    }
    found = calls[method]()
    assert found.shape == case.view.hu.shape
    peak = np.array(np.unravel_index(int(found.argmax()), found.shape))
    assert np.abs(np.argwhere(lesion(trained)) - peak).max(1).min() <= 2


def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(trained: Trained) -> None:
    case, base = trained.case("positive"), healthy(trained)
    total = attribution.integrated_gradients(trained.probe, case, base, 1, 32).sum()
    filled = torch.where(case.lungs, torch.from_numpy(base), case.hu)
    odds = log_odds_of(trained.probe.evaluate([case.hu, filled], case.lungs), 1)
    assert total == pytest.approx(odds[0] - odds[1], rel=0.1)


def test_density_and_chance_stay_within_the_lungs(trained: Trained) -> None:
    case = trained.case("positive")
    for values in (attribution.density(case, True), attribution.random_map(case, np.random.default_rng(0))):
        assert (values >= 0).all()
        assert not values[case.view.lungs == 0].any()


def test_log_odds_of_three_classes_are_one_against_the_rest() -> None:
    logits = np.log([[0.2, 0.3, 0.5]])
    assert log_odds_of(logits, 2)[0] == pytest.approx(0)
    assert decide(probe.probabilities(logits), None).tolist() == [2]


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_grad_cam_works_on_backbones_that_alter_their_features_in_place(trained: Trained, name: str) -> None:

    variant = FLAT.model_copy(update={"architecture": f"torchvision:{name}", "pooling": "attention"})
    case = trained.case("positive")
    made = probe.Probe(build_network(variant, 2).eval(), variant, trained.probe.device)
    found = attribution.grad_cam(made, case, 1)
    assert found.shape == case.view.hu.shape
    assert np.isfinite(found).all()
