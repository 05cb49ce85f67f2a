"""A sampler per class is a mixture of samplers, each fitted to the latents of its class."""

import pytest
import torch
from cases import VAE, generator, images

from gae_hub import GaussianMixtureSampler, InMemoryDataset, MAFSampler, PerClassSampler
from gae_hub.data.embeddings import embed_dataset

POINTS = torch.randn(300, 2, generator=generator()).double()
LABELS = torch.arange(300) % 3 % 2  # two of three points are of class 0
POINTS[:, 0] += 8 * LABELS
MIXTURE = {"model_type": "gaussian_mixture", "num_components": 2}


def fit(**fields):
    return PerClassSampler(num_classes=2, **{"sampler_config": MIXTURE, **fields}).fit(POINTS, class_labels=LABELS)


def test_densities_are_those_of_samplers_that_are_fitted_to_each_class():
    sampler = fit()
    alone = [GaussianMixtureSampler(num_components=2).fit(POINTS[LABELS == k]) for k in (0, 1)]
    each = torch.stack([own.log_prob(POINTS) for own in alone], 1)
    for label in (0, 1):
        torch.testing.assert_close(sampler.log_prob(POINTS, class_labels=label), each[:, label])
    given = sampler.log_prob(POINTS, class_labels=LABELS)
    torch.testing.assert_close(given, each.gather(1, LABELS[:, None])[:, 0])
    shares = torch.tensor([2 / 3, 1 / 3]).log()
    torch.testing.assert_close(sampler.log_prob(POINTS), (each + shares).logsumexp(1))


def test_a_sampler_stands_for_its_config():
    given = PerClassSampler(GaussianMixtureSampler(num_components=2), num_classes=2)
    assert given.config.to_dict() == PerClassSampler(sampler_config=MIXTURE, num_classes=2).config.to_dict()


def test_samples_are_of_the_chosen_classes_in_their_order():
    sampler = fit()
    chosen = torch.arange(200) % 5 % 2
    drawn = sampler.sample(200, generator(), class_labels=chosen)
    assert torch.equal((drawn[:, 0] > 4).long(), chosen)
    assert (sampler.sample(50, generator(), class_labels=1)[:, 0] > 4).all()
    assert float((sampler.sample(4000, generator())[:, 0] > 4).double().mean()) == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize("source", [VAE.build(), VAE.build(num_classes=2)], ids=["plain", "conditional"])
def test_images_of_a_class_from_a_model_with_labels_or_without(source):
    model, data = source.eval(), InMemoryDataset(images(40), torch.arange(40) % 2)
    sampler = PerClassSampler(num_classes=2, sampler_config=MIXTURE).fit_to(model, data, progress=False)
    latents = embed_dataset(model, data, progress=False, sample=True)
    torch.testing.assert_close(
        sampler.log_prob(latents, class_labels=1),
        GaussianMixtureSampler(num_components=2).fit(latents[data.labels == 1]).log_prob(latents),
    )
    found = model.generate(6, sampler, generator(), class_labels=torch.arange(6) % 2)
    z = sampler.sample(6, generator(), class_labels=torch.arange(6) % 2)
    labels = torch.arange(6) % 2 if model.is_conditional else None
    torch.testing.assert_close(found, model.decode(z.float(), labels))
    assert model.generate(6, sampler, generator()).shape == (6, 1, 8, 8)


def test_samplers_that_are_trained_select_weights_on_the_latents_of_their_class():
    sampler = PerClassSampler(num_classes=2, sampler_config={"model_type": "maf", "hidden_size": 8, "num_flows": 1})
    options = {
        "validation_latents": POINTS,
        "validation_class_labels": LABELS,
        "num_train_epochs": 2,
        "progress": False,
    }
    sampler.fit(POINTS, class_labels=LABELS, **options)
    alone = MAFSampler(hidden_size=8, num_flows=1)
    own = POINTS[LABELS == 1]
    alone.fit(own, validation_latents=own, num_train_epochs=2, progress=False)
    torch.testing.assert_close(sampler.log_prob(POINTS, class_labels=1), alone.log_prob(POINTS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PerClassSampler().fit(POINTS, class_labels=LABELS), "num_classes is None: pass PerClassSampler"),
        (lambda: PerClassSampler(num_classes=2).fit(POINTS), r"class_labels must be integers in \[0, 2\), got None"),
        (lambda: PerClassSampler(num_classes=3).fit(POINTS, class_labels=LABELS), "there are none of 2"),
        (
            lambda: PerClassSampler(num_classes=2).fit(POINTS, class_labels=LABELS, validation_class_labels=LABELS),
            "validation_class_labels were given, but there are no validation_latents",
        ),
        (
            lambda: PerClassSampler(num_classes=2).fit(
                POINTS, class_labels=LABELS, validation_latents=POINTS, validation_class_labels=0
            ),
            "each class needs validation_latents, but there are none of 1",
        ),
        (lambda: fit().sample(2, class_labels=2), r"class_labels must be integers in \[0, 2\), got 2"),
        (lambda: fit().log_prob(POINTS, class_labels=LABELS[:5]), r"one for each of 300 examples, got shape \(5,\)"),
        (lambda: PerClassSampler(sampler_config="mafs"), "got 'mafs'; did you mean 'maf'?"),
        (lambda: PerClassSampler(sampler_config="prior"), "'prior' cannot be fitted per class"),
        (
            lambda: PerClassSampler(num_classes=2).fit_to(VAE.build(), images(9), progress=False),
            "has no labels, but num_classes = 2 needs them",
        ),
        (
            lambda: GaussianMixtureSampler(num_components=1).fit(POINTS).sample(2, class_labels=0),
            "sample has no option 'class_labels'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
