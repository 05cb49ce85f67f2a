"""What visitors of a study's Space can choose, and links that hold it."""

from dataclasses import replace
from urllib.parse import urlencode

import pytest
from spaces.study_cases import PLACE, SETUP

from gae_hub.spaces.setup_choices import latent_dims_of, nearest_setup, networks_of
from gae_hub.spaces.study_choices import Choices, first_choices, read_choices
from gae_hub.study.selection import Setup

PLACE_NAMES = ("dataset", "network", "latent_dim")
SETUPS = [
    Setup("mlp", "digits", 16),
    Setup("mlp", "digits", 64),
    Setup("mlp", "faces", 64),
    Setup("conv", "digits", 16),
]


def test_a_link_holds_every_choice(views):
    first = first_choices(views, SETUP)
    assert read_choices(views, "") == (first, [])
    changed = Choices(
        "interpolate",
        *PLACE,
        "interpolation",
        ["VQVAE"],
        [3, 5],
        ["gmm"],
        num=4,
        seed=9,
        start=2,
        end=7,
        num_steps=5,
        method="VAE",
    )
    query = urlencode(changed.to_dict(), doseq=True)
    assert all(getattr(changed, name) != value for name, value in first.to_dict().items() if name not in PLACE_NAMES)
    assert read_choices(views, f"?{query}") == (changed, [])
    assert read_choices(views, "?methods=&picked=&samplers=")[0] == replace(first, methods=[], picked=[], samplers=[])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tab=nowhere", "tab must be one of reconstruct"),
        ("dataset=mnist", "this Space has no models for mnist, mlp, 3"),
        ("methods=VAE&methods=GAN", "a method must be one of AE"),
        ("picked=1&picked=900", "an index of a test image must be an integer from 0"),
        ("num=9e9", "the number of images must be an integer"),
        ("seed=-1", "the seed must be an integer"),
        ("num_steps=2", "the number of steps must be an integer from 3"),
        ("method=<script>", "a method must be one of"),
    ],
)
def test_a_link_with_unknown_values_is_as_at_first_and_says_so(views, query, message):
    choices, errors = read_choices(views, f"?{query}&seed=5" if "seed" not in query else f"?{query}")
    assert choices == replace(first_choices(views, SETUP), seed=0 if "seed" in query else 5)
    assert len(errors) == 1 and message in errors[0]


def test_a_link_with_repeated_choices_has_each_once(views):
    choices, errors = read_choices(views, "?picked=3&picked=1&picked=3&samplers=gmm&samplers=gmm&methods=AE")
    assert (choices.picked, choices.samplers, choices.methods, errors) == ([3, 1], ["gmm"], ["AE"], [])


# Setups


def test_only_setups_with_models_can_be_chosen():
    assert networks_of(SETUPS, "digits") == ["mlp", "conv"] and networks_of(SETUPS, "faces") == ["mlp"]
    assert latent_dims_of(SETUPS, "digits", "mlp") == [16, 64] and latent_dims_of(SETUPS, "digits", "conv") == [16]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("digits", "mlp", 64), ("mlp", "digits", 64)),
        (("digits", "conv", 64), ("conv", "digits", 16)),  # all cells of (conv, digits, 64) failed
        (("faces", "conv", 16), ("mlp", "faces", 64)),
        (("digits", "conv", 5), ("conv", "digits", 16)),
    ],
)
def test_the_nearest_setup(wanted, expected):
    """The data set counts most, then the networks."""
    assert nearest_setup(SETUPS, *wanted) == expected
