"""Inception-v3 against an oracle: outputs of the published implementation for weights from a recipe."""

import pytest
import torch
from builders import ORACLE, recipe
from cases import generator

from gae_hub.metrics.networks.inception import InceptionV3, preprocess


@pytest.fixture(scope="module")
def network():
    network = InceptionV3()
    network.load_state_dict({key: recipe(key, shape) for key, shape in ORACLE["keys"].items()})
    return network.eval().double()


def test_keys_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        state = InceptionV3().state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == ORACLE["keys"]


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda c: f"{c['resize'].split()[0]}-{c['h']}x{c['w']}")
@torch.no_grad()
def test_features_and_logits_of_the_oracle(case, network):
    images = torch.randint(0, 256, (2, 3, case["h"], case["w"]), generator=generator(case["seed"])).double() / 255
    features = network(preprocess(images, "pytorch" if case["resize"].startswith("torch") else "tensorflow"))
    logits = network.fc(features)

    def close(found, expected):
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-6)

    assert features.shape == (2, 2048) and logits.shape == (2, 1008)
    close(features[0, :8], case["pool_first_8"])
    close(features.sum(1), case["pool_sum"])
    close(features.norm(dim=1), case["pool_norm"])
    close(logits[0, :8], case["logits_first_8"])
    close(logits.norm(dim=1), case["logits_norm"])
