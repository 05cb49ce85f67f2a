"""What both samplers of codes do: they learn dependencies and classes, and their samples are a model's latents."""

from functools import partial

import pytest
import torch
from cases import QUANTIZERS, generator, images
from densities import noise

from gae_hub import AutoSampler, PixelCNNSampler, TransformerSampler

PIXEL_CNN = (
    partial(PixelCNNSampler, hidden_size=16, num_hidden_layers=2, kernel_size=3),
    {"num_train_epochs": 25, "learning_rate": 1e-2},
)
TRANSFORMER = (
    partial(TransformerSampler, hidden_size=32, num_hidden_layers=2, dropout=0.0),
    {"num_train_epochs": 60, "learning_rate": 3e-3},
)


@pytest.mark.parametrize(("build", "training"), [PIXEL_CNN, TRANSFORMER], ids=["pixel_cnn", "transformer"])
def test_learns_dependencies_and_classes(build, training):
    """Each map is one row of codes c, c + 1, c + 2 (mod 5): the first determines the others."""
    first = torch.randint(0, 5, (400, 1, 1), generator=generator())
    codes = (first + torch.arange(3)) % 5
    labels = (first.flatten() < 2).long()
    sampler = build(num_classes=2)
    sampler.fit(codes, noise(5, 2), class_labels=labels, progress=False, **training)
    drawn = sampler.draw_codes(500, generator())[:, 0, :, 0]
    assert ((drawn - drawn[:, :1]) % 5 == torch.arange(3)).all(1).float().mean() > 0.95
    assert (sampler.draw_codes(300, generator(), class_labels=1)[:, 0, 0, 0] < 2).float().mean() > 0.97
    for label, count in {0: 3, 1: 2}.items():
        own = codes[labels == label]
        entropy = -sampler.code_log_prob(own, torch.full((len(own),), label)).mean()
        assert abs(entropy - torch.tensor(float(count)).log()) < 0.12
    latents = sampler.sample(4, generator(), class_labels=torch.tensor([0, 1, 0, 1]))
    assert latents.shape == (4, 2, 1, 3)


@pytest.mark.parametrize("build", [PIXEL_CNN[0], TRANSFORMER[0]], ids=["pixel_cnn", "transformer"])
def test_probabilities_of_all_codes_sum_to_one(build):
    """Given a class, and over the classes with their shares; a class without examples has no share."""
    codes = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 2, 2)  # all maps of 2 x 2 with 3 codes
    labels = (torch.arange(len(codes)) < 20).long()
    sampler = build(num_classes=3).fit(codes, noise(3, 2), class_labels=labels, num_train_epochs=2, progress=False)
    sampler = sampler.double()
    given = torch.stack([sampler.code_log_prob(codes, label) for label in (0, 1)])
    torch.testing.assert_close(given.exp().sum(1), torch.ones(2, dtype=torch.float64))
    shares = torch.tensor([61 / 81, 20 / 81], dtype=torch.float64)
    torch.testing.assert_close(sampler.code_log_prob(codes).exp(), shares @ given.exp(), atol=1e-7, rtol=1e-6)
    assert (given[0] - given[1]).abs().max() > 0.01


@pytest.mark.parametrize("build", [PIXEL_CNN[0], TRANSFORMER[0]], ids=["pixel_cnn", "transformer"])
def test_labels_that_would_have_no_effect_raise(build):
    codes, books, labels = torch.randint(0, 5, (8, 2, 2), generator=generator()), noise(5, 2), torch.arange(8) % 2
    with pytest.raises(ValueError, match="class_labels were given, but num_classes is None"):
        build().fit(codes, books, class_labels=labels)
    with pytest.raises(ValueError, match="validation_class_labels were given, but there are no validation_codes"):
        build(num_classes=2).fit(codes, books, class_labels=labels, validation_class_labels=labels)
    sampler = build().fit(codes, books, num_train_epochs=1, progress=False)
    with pytest.raises(ValueError, match="class_labels were given, but num_classes is None"):
        sampler.code_log_prob(codes, labels)


@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize("case", QUANTIZERS, ids=lambda case: case.id)
@pytest.mark.parametrize("sampler_class", [PixelCNNSampler, TransformerSampler])
def test_samples_are_latents_of_every_quantizer(sampler_class, case, network, tmp_path):
    """The model decodes them without quantizing them again."""
    model = case.build(encoder_config=network, decoder_config=network)
    model.train()(images(64))
    model.eval()
    sampler = sampler_class(hidden_size=8, num_hidden_layers=1)
    sampler.fit_to(model, images(30), images(8), num_train_epochs=1, progress=False)
    drawn, codes = sampler.sample(5, generator()), sampler.draw_codes(5, generator())
    assert drawn.shape == (5, *model.latent_shape)
    codes = codes.view(5, *model.code_shape)
    torch.testing.assert_close(drawn, model.lookup_codes(codes))
    torch.testing.assert_close(model.generate(5, sampler, generator()), model.decode_codes(codes))
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), drawn)
