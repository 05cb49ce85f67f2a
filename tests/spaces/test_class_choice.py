"""Classes in a Space: which class images are encoded and decoded with, and which choices raise."""

import base64
import io

import numpy as np
import pytest
import torch
from cases import generator, images
from PIL import Image

from gae_hub import (
    FlowMatchingSampler,
    GAEImageProcessor,
    GaussianMixtureSampler,
    PerClassSampler,
    VAEConfig,
    VAEModel,
    VQVAEConfig,
    VQVAEModel,
)
from gae_hub.spaces.about import describe_calls
from gae_hub.spaces.class_choice import NO_CLASS, ClassChoice
from gae_hub.spaces.endpoints import Endpoints
from gae_hub.spaces.example_sets import ExampleSet, generate_examples
from gae_hub.spaces.explorer import Explorer
from gae_hub.spaces.panel_data import describe_model

X = images(12)
Y = torch.arange(12) % 3
EXAMPLES = ExampleSet(X, "random", Y.tolist(), ("circle", "square"))


def explore(samplers=None, examples=EXAMPLES, **fields):
    """The explorer of a VAE whose decoder depends strongly on the class."""
    torch.manual_seed(0)
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=3, **fields)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return Explorer(model, GAEImageProcessor.for_model(model), samplers or {}, examples)


@pytest.fixture(scope="module")
def found():
    return explore(num_classes=3, condition_dropout=0.1)


@pytest.fixture(scope="module")
def strict():
    """The functions of a model that knows no images without a class."""
    return Endpoints(explore(num_classes=3))


def uris(explorer, pixel_values):
    return [np.asarray(image).tolist() for image in explorer.to_images(pixel_values)]


def pixels(answer):
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).tolist() for uri in answer]


def upload(pixel_values, explorer):
    buffer = io.BytesIO()
    explorer.to_images(pixel_values)[0].save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# Results


@pytest.mark.parametrize(("label", "scale"), [(None, 1.0), (2, 1.0), (2, 3.0), (NO_CLASS, 1.0)])
def test_samples_are_those_of_generate(found, label, scale):
    drawn = found.draw_latents("prior", 4, 6, ClassChoice(label, scale))
    expected = found.model.generate(6, generator=generator(4), class_labels=label, guidance_scale=scale)
    torch.testing.assert_close(found.decode(*drawn, scale), expected)
    if label is not None:
        assert drawn[1].tolist() == [label] * 6


def test_samples_of_a_sampler_with_classes():
    """It gets the class of the model, and draws one for images without."""
    sampler = PerClassSampler(GaussianMixtureSampler(num_components=1), num_classes=3)
    sampler.fit(torch.randn(90, 3, generator=generator()) + 4 * Y.repeat(8)[:90, None], class_labels=Y.repeat(8)[:90])
    own = explore({"sampler": sampler}, num_classes=3, condition_dropout=0.1)
    free = explore({"sampler": sampler})
    for found in (own, free):
        latents, labels = found.draw_latents("sampler", 0, 50, ClassChoice(2))
        assert latents.mean().item() == pytest.approx(8, abs=0.5) and (labels is None) == (found is free)
        expected = found.model.generate(50, sampler, generator(0), class_labels=2)
        torch.testing.assert_close(found.decode(latents, labels), expected)
    mixed, labels = own.draw_latents("sampler", 0, 50, ClassChoice(NO_CLASS))
    assert mixed.mean().item() == pytest.approx(4, abs=1.5) and set(labels.tolist()) == {NO_CLASS}
    with pytest.raises(
        ValueError, match=r"sampler 'prior' has no classes: let each image have its own, or choose another"
    ):
        free.draw_latents("prior", 0, 5, ClassChoice(2))
    assert free.classes.of_samplers == 3 and not free.classes.of_model


def test_guidance_of_a_sampler_leaves_the_decoder_alone():
    torch.manual_seed(0)
    sampler = FlowMatchingSampler(num_classes=3, hidden_size=8, num_attention_heads=2)
    latents, labels = torch.randn(60, 3, generator=generator()), Y.repeat(5)
    sampler.fit(latents, class_labels=labels, num_train_epochs=30, progress=False)
    found = explore({"sampler": sampler}, num_classes=3)
    drawn = found.draw_latents("sampler", 0, 4, ClassChoice(1, 3.0))
    expected = found.model.generate(4, sampler, generator(0), class_labels=1, guidance_scale=3.0)
    torch.testing.assert_close(found.decode(*drawn, 3.0), expected)
    assert not torch.equal(drawn[0], found.draw_latents("sampler", 0, 4, ClassChoice(1))[0])


def test_examples_are_encoded_with_their_own_class(found):
    torch.testing.assert_close(found.embeddings, found.model.embed(X, class_labels=Y))
    wrong = found.model.embed(X, class_labels=(Y + 1) % 3)
    assert not torch.allclose(found.embeddings, wrong)
    kl = found.model.given(Y).encode(X).kl_per_dimension().mean(0)
    assert found.axes.scores == pytest.approx(kl.sort(descending=True).values.tolist(), abs=1e-3)


@pytest.mark.parametrize("label", [None, 2, NO_CLASS])
def test_reconstructions_have_the_chosen_class(found, label):
    result = Endpoints(found).reconstruct(4, class_label=label)
    expected = found.model.reconstruct(X[4:5], class_labels=Y[4:5], target_class_labels=label)
    assert pixels([result["reconstruction"]]) == uris(found, expected)
    assert result["class_label"] == (Y[4] if label is None else label)


def test_reconstructions_are_guided(found):
    result = Endpoints(found).reconstruct(4, guidance_scale=3)
    latents = found.model.embed(X[4:5], class_labels=Y[4:5])
    assert pixels([result["reconstruction"]]) == uris(found, found.model.given(Y[4:5], 3.0).decode(latents))
    assert result["reconstruction"] != Endpoints(found).reconstruct(4)["reconstruction"]


def test_an_image_of_a_visitor_has_the_chosen_class(found, strict):
    endpoints, image = Endpoints(found), upload(X[4:5], found)
    restored = torch.tensor(uris(found, X[4:5]))[:, None] / 255
    for label in (2, None):
        given = NO_CLASS if label is None else label
        expected = found.model.reconstruct(restored, class_labels=given)
        assert pixels([endpoints.reconstruct(image, class_label=label)["reconstruction"]]) == uris(found, expected)
        assert endpoints.embed(image, label)["latents"] == pytest.approx(
            found.model.embed(restored, class_labels=given)[0].tolist(), abs=1e-5
        )
    for call in (strict.reconstruct, strict.embed, strict.image_latents, lambda image: strict.interpolate(0, image)):
        with pytest.raises(
            ValueError, match="class_label is missing: an uploaded image has no class, so choose the one that"
        ):
            call(image)
    assert strict.reconstruct(image, class_label=1)["class_label"] == 1


@pytest.mark.parametrize("label", [None, 0])
def test_paths_go_from_class_to_class(found, label):
    answer = Endpoints(found).interpolate(1, 5, 5, "straight", class_label=label)
    path = found.model.interpolate(X[1:2], X[5:6], 5, class_labels=Y[1:2], end_class_labels=Y[5:6])[0]
    if label is not None:
        ends = (found.model.embed(X[i : i + 1], class_labels=Y[i : i + 1]) for i in (1, 5))
        path = found.model.given(0).decode(found.model.interpolate_latents(*ends, torch.linspace(0, 1, 5))[0])
    assert pixels(answer["images"]) == uris(found, path)


def test_sliders_and_the_map(found):
    """The chosen class, or that of the example, or the first."""
    endpoints, values = Endpoints(found), [0.3, -0.2]
    for example, label, expected in ((4, None, Y[4]), (None, None, 0), (4, 2, 2), (None, NO_CLASS, NO_CLASS)):
        answer = endpoints.explore(values, example, class_label=label)
        latents = found.move(example, values)
        assert answer["class_label"] == expected
        assert pixels([answer["image"]]) == uris(found, found.model.decode(latents, class_labels=int(expected)))
        strip = endpoints.traverse(values, [1], 3, example, class_label=label)["images"]
        ends = [found.move(example, [values[0], end]) for end in (found.axes.low[1], found.axes.high[1])]
        decoded = found.model.decode(torch.cat(ends), class_labels=int(expected))
        assert pixels([strip[0], strip[2]]) == uris(found, decoded)
    point = endpoints.decode_point(0.1, 0.2, class_label=2)
    assert pixels([point["image"]]) == uris(found, found.model.decode(found.lift(0.1, 0.2), class_labels=2))
    assert endpoints.decode_point(0.1, 0.2)["class_label"] == 0


def test_variations_keep_the_class_of_their_sample(found):
    endpoints = Endpoints(found)
    sample = endpoints.sample("prior", 3, 8)
    latents, labels = found.draw_latents("prior", 3, 8)
    assert sample["class_labels"] == labels.tolist() and len(labels.unique()) > 1
    for index in range(8):
        near = endpoints.vary("prior", 3, 8, index, distance=0.0, num_variations=1)["images"]
        expected = found.model.decode(latents[index : index + 1], class_labels=labels[index : index + 1])
        assert pixels(near) == uris(found, expected)


def test_codes_depend_on_the_class():
    torch.manual_seed(0)
    config = VQVAEConfig(input_shape=(1, 8, 8), latent_dim=2, num_classes=3)
    model = VQVAEModel(config).eval()
    sampler = GaussianMixtureSampler(num_components=1).fit(model.embed(X, class_labels=Y))
    found = Explorer(model, GAEImageProcessor.for_model(model), {"sampler": sampler}, EXAMPLES)
    expected = model.encode_codes(X[2:3], class_labels=Y[2:3])
    assert Endpoints(found).reconstruct(2)["codes"] == expected.flatten().tolist()


# Controls


def test_controls(found, strict):
    classes = describe_model(found, "t", None)["classes"]
    assert classes["options"] == [[0, "circle"], [1, "square"], [2, "2"], [NO_CLASS, "none"]]
    assert classes["tabs"] == classes["guidedTabs"] == ["sample", "reconstruct", "interpolate", "explore", "map"]
    unguided = describe_model(strict.explorer, "t", None)["classes"]
    assert unguided["options"][-1] == [2, "2"] and unguided["guidedTabs"] == []
    assert describe_model(explore(), "t", None)["classes"] is None


def test_the_list_of_functions_has_the_arguments_that_are_accepted(found, strict):
    sampler = PerClassSampler(GaussianMixtureSampler(num_components=1), num_classes=3)
    sampler.fit(torch.randn(90, 3, generator=generator()), class_labels=Y.repeat(8)[:90])
    for explorer, of_samples, of_images, is_guided in (
        (found, True, True, True),
        (strict.explorer, True, True, False),
        (explore({"sampler": sampler}), True, False, False),
        (explore(), False, False, False),
    ):
        text = describe_calls(explorer, Endpoints(explorer).by_name())
        sample, reconstruct = (text.split(f"`/{name}(")[1].split(")`")[0] for name in ("sample", "reconstruct"))
        assert ("class_label=" in sample, "class_label=" in reconstruct) == (of_samples, of_images)
        assert ("guidance_scale=" in text) == is_guided


def test_generated_examples_take_turns(found):
    examples = generate_examples(found.model, None, num=7)
    assert examples.labels == [0, 1, 2, 0, 1, 2, 0]
    expected = found.model.generate(7, generator=generator(0), class_labels=torch.tensor(examples.labels))
    torch.testing.assert_close(examples.pixel_values, expected)


# Errors


@pytest.mark.parametrize(
    ("examples", "fields", "message"),
    [
        (ExampleSet(X, "here"), {"num_classes": 3}, r"an example \(here\) has no label, .* needs a class from 0 to 2"),
        (
            EXAMPLES,
            {"num_classes": 2},
            r"\(random\) has the label 2, but this VAEModel needs a class from 0 to 1",
        ),
        (EXAMPLES, {"condition_dim": 3}, r"this VAEModel is conditioned on vectors, condition_dim = 3"),
    ],
)
def test_examples_without_classes_of_the_model(examples, fields, message):
    with pytest.raises(ValueError, match=message):
        explore(examples=examples, **fields)


def test_examples_without_labels_of_a_model_that_knows_them():
    found = explore(examples=ExampleSet(X, "here"), num_classes=3, condition_dropout=0.1)
    assert found.class_labels.tolist() == [NO_CLASS] * 12
    assert Endpoints(found).reconstruct(0)["class_label"] == NO_CLASS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_label": 3}, "class_label must be an integer from 0 to 2, got 3"),
        ({"class_label": NO_CLASS}, "class_label must be an integer from 0 to 2, got -1"),
        ({"class_label": "seven"}, "class_label must be an integer from 0 to 2, got the text 'seven'"),
        (
            {"guidance_scale": 2},
            "guidance_scale must be left out, as this model was trained without condition_dropout",
        ),
        ({"guidance_scale": 6}, "guidance_scale must be a number from 0 to 5, got 6"),
    ],
)
def test_wrong_choices(strict, arguments, message):
    for call in (lambda **choice: strict.sample("prior", **choice), lambda **choice: strict.reconstruct(0, **choice)):
        with pytest.raises(ValueError, match=message):
            call(**arguments)


def test_a_class_of_a_model_without_any():
    endpoints = Endpoints(explore())
    with pytest.raises(ValueError, match="class_label must be left out, as this model has no classes"):
        endpoints.decode_point(0, 0, class_label=1)
