"""Ways to refine tiny networks: bounded attacks, healed copies, rounds with a healer; the trained one untouched."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from claire.core.imaging.opacities import lesions
from claire.explain import refining
from claire.explain.probe import Case, Loader, Probe, log_odds_of
from torch import nn

from tests.support.explaining import FLAT, SOLID, Trained, train_tiny
from tests.support.synthetic import CohortFiles


@pytest.fixture(scope="module", params=[FLAT, SOLID], ids=["2D", "3D"])
def trained(
    request: pytest.FixtureRequest, cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train_tiny(cohort_files, request.param, tmp_path_factory.mktemp("run"))


def labelled(trained: Trained) -> list[tuple[Loader, int]]:
    return [(lambda label=label, nth=nth: trained.case(label, nth), target)
            for target, label in enumerate(("negative", "positive")) for nth in range(4)]  # fmt: skip


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([value.flatten() for value in trained.probe.network.state_dict().values()])


def test_an_attack_is_bounded_raises_the_loss_and_stays_in_the_lungs(trained: Trained) -> None:
    case = trained.case("positive")
    hu, lungs = case.hu[None], case.lungs[None]
    changed = refining.attack(trained.probe, hu, lungs, torch.tensor([1]), refining.EPSILON_HU)
    assert (changed - hu).abs().max() <= refining.EPSILON_HU + 1e-3
    assert not (changed != hu)[~lungs].any()
    before, after = (log_odds_of(trained.probe.evaluate([one[0]], case.lungs), 1)[0] for one in (hu, changed))
    assert after < before


@pytest.mark.parametrize("kind", ["healed", "rounds", "attacked"])
def test_refining_changes_a_copy_only_and_repeats(trained: Trained, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refining, "HEALER_STEPS", 2)
    before = weights(trained)
    first, second = (refining.refine_network(trained.probe, labelled(trained), kind, 3, seed=0) for _ in range(2))
    assert torch.equal(weights(trained), before)
    assert not torch.equal(next(first.network.parameters()), next(trained.probe.network.parameters()))
    assert all(map(torch.equal, first.network.parameters(), second.network.parameters()))
    assert not any(value.requires_grad for value in first.network.parameters())


def emptied(case: Case) -> torch.Tensor:
    """Return the view of a scan with its opacities at healthy HU."""
    opacity = lesions(case.view.hu, case.view.lungs, case.view.spacing_mm, case.view.voxel_ml) > 0
    return torch.from_numpy(np.where(opacity, np.float32(-850), case.hu.numpy()))


def test_a_network_that_calls_healthy_lungs_positive_learns_what_healed_lungs_are(trained: Trained) -> None:
    network, variant = copy.deepcopy(trained.probe.network), trained.variant.model_copy(update={"learning_rate": 0.05})
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        head.bias += torch.tensor([-8.0, 8.0])
    biased = Probe(network, variant, trained.probe.device)
    healed = refining.refine_network(biased, labelled(trained), "healed", 40, seed=0)
    case = trained.case("positive")
    before, after = (log_odds_of(one.evaluate([case.hu, emptied(case)], case.lungs), 1) for one in (biased, healed))
    assert before[1] > 0 > after[1]
    assert after[0] > 0


def test_holes_keep_the_label_and_healed_copies_get_the_references(trained: Trained) -> None:
    copies, rng, case = refining.Copies(), np.random.default_rng(0), trained.case("positive")
    holed = copies._filled(case, False, rng)
    healed = copies._filled(case, True, rng)
    opacity = case.hu > -600
    assert torch.equal(holed[opacity & case.lungs], case.hu[opacity & case.lungs])
    assert (healed[opacity & case.lungs] < -650).float().mean() > 0.95
    assert torch.equal(holed[~case.lungs], case.hu[~case.lungs])
