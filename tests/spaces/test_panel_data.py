"""What the panels of a page receive: how large it is, and what it says of a model."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import images
from PIL import Image

from gae_hub import BetaVAEConfig, BetaVAEModel, GAEImageProcessor
from gae_hub.images.normalization import Normalization
from gae_hub.spaces.example_sets import ExampleSet
from gae_hub.spaces.explorer import Explorer
from gae_hub.spaces.panel_data import describe_axes, describe_examples, describe_map

NETWORKS = {"encoder_config": {"hidden_sizes": [4]}, "decoder_config": {"hidden_sizes": [4]}}


def explore(examples, normalization=None):
    torch.manual_seed(0)
    shape = tuple(examples.pixel_values.shape[1:])
    model = BetaVAEModel(BetaVAEConfig(input_shape=shape, latent_dim=3, **NETWORKS))
    return Explorer(model, GAEImageProcessor(shape, normalization=normalization), {}, examples)


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_large_examples_are_shown_small():
    """So that the page stays light. Requests for them have their full size."""
    found = explore(ExampleSet(images(30, (3, 160, 320)), "random"))
    picked = describe_examples(found)["examples"]
    assert len(picked) == 24 and {decode(one["image"]).size for one in picked} == {(128, 64)}
    sheet, (columns, rows) = decode(describe_map(found)["sheet"]), describe_map(found)["sheetSize"]
    assert sheet.size == (64 * columns, 32 * rows) and columns * rows >= 30
    assert "data:image" not in json.dumps(describe_axes(found))


def test_small_examples_are_shown_as_they_are():
    found = explore(ExampleSet(images(30), "random", list(range(30))))
    examples = describe_examples(found)["examples"]
    expected = found.to_images(found.examples.pixel_values)
    for one, image in zip(examples, expected[:24], strict=True):
        assert np.array_equal(decode(one["image"]), image)
    assert [one["label"] for one in examples] == [one["label"] for one in describe_axes(found)["examples"]]
    assert examples[5]["label"] == "5"


@pytest.mark.parametrize(("brightness", "paper"), [(0.1, "#000000"), (0.9, "#ffffff")])
@pytest.mark.parametrize("is_standardized", [False, True])
def test_drawings_have_the_background_of_the_examples(brightness, paper, is_standardized):
    """A normalization of the model's values does not count."""
    normalization = Normalization("standardize", (brightness,), (0.1,)) if is_standardized else None
    pixel_values = torch.zeros(30, 1, 8, 8) if is_standardized else torch.full((30, 1, 8, 8), brightness)
    found = describe_examples(explore(ExampleSet(pixel_values, "here"), normalization))
    assert found["paper"] == paper and found["ink"] != paper


def test_components_are_not_all_called_active():
    found = explore(ExampleSet(images(30), "random"))
    scores = [0.9, 0.09, 0.01]
    found.axes = replace(found.axes, by="explained variance", scores=scores, num_active=2)
    axes = describe_axes(found)
    assert axes["numShown"] == 2 and [axis["score"] for axis in axes["axes"]] == ["90.0%", "9.0%", "1.0%"]
    assert "3 directions, ordered by share of the embeddings' variance; 2 have more than 1 %." in axes["orderedBy"]
