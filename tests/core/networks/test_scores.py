"""A network as one tensor in and one out."""

from __future__ import annotations

import torch
from claire.core.contracts.variant import Variant
from claire.core.networks.scores import scores


def test_scores_are_the_probabilities_of_scans() -> None:
    variant = Variant(size=32, slices=4)
    torch.manual_seed(0)
    network = scores(variant.model_dump(mode="json"), 3)
    views = torch.rand(2, 4, 32, 32)
    with torch.inference_mode():
        probability = network(views)
        logits = network.network(views).scan
    assert not network.training
    torch.testing.assert_close(probability, torch.softmax(logits, -1))
