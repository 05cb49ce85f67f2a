"""Wrong arguments of samplers: each error says what was given, what was expected, and what to pass."""

import numpy as np
import pytest
import torch
from cases import ROWS, VAE, images

from gae_hub import (
    GAETrainingArguments,
    GaussianMixtureSampler,
    KernelDensitySampler,
    MAFSampler,
    PixelCNNSampler,
    PriorSampler,
    TwoStageVAESampler,
)

LATENTS = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
CODES, BOOKS = torch.zeros(4, 2, 2, dtype=torch.long), torch.randn(5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GaussianMixtureSampler(GaussianMixtureSampler().config, num_components=3),
            "got a config and also num_components: set num_components in the config, or leave the config out",
        ),
        (lambda: MAFSampler(GaussianMixtureSampler().config), "needs a MAFSamplerConfig, got an object of type Gauss"),
        (lambda: GaussianMixtureSampler(10), "needs a GaussianMixtureSamplerConfig, got 10"),
        (
            lambda: MAFSampler().fit(LATENTS, output_dir="runs/maf"),
            r"has no option 'output_dir': to keep checkpoints, pass args=GAETrainingArguments\('runs/maf', ...\)",
        ),
        (lambda: MAFSampler().fit(LATENTS, num_epochs=3), "fit has no option 'num_epochs'; did you mean 'num_train_e"),
        (
            lambda: MAFSampler().fit(LATENTS, args=GAETrainingArguments("runs"), seed=3),
            "got args and also seed: set seed in args",
        ),
        (lambda: GaussianMixtureSampler().fit(LATENTS, num_train_epochs=3), "fit has no option 'num_train_epochs'"),
        (
            lambda: GaussianMixtureSampler().fit(LATENTS, num_components=3),
            r"it is a field of the config, GaussianMixtureSampler\(num_components=...\)",
        ),
        (lambda: MAFSampler().fit(LATENTS[:1]), "MAFSampler needs 2 or more latents to be trained on, got 1"),
        (lambda: TwoStageVAESampler().fit(LATENTS[:1]), "needs 2 or more latents to be trained on, got 1"),
        (
            lambda: GaussianMixtureSampler().fit(LATENTS[:1]),
            "must be at most the number of latents, 1, got 10",
        ),
        (
            lambda: MAFSampler().fit(LATENTS, validation_latents=LATENTS[:, :2]),
            r"validation_latents has shape \(30, 2\), but the sampler is fitted to latents of shape \(3,\)",
        ),
        (lambda: MAFSampler().fit(LATENTS, validation_latents=LATENTS * torch.nan), "nan or infinite"),
        (lambda: MAFSampler().fit(LATENTS.long()), "must be floats, got dtype torch.int64; PixelCNNSampler is fitted"),
        (lambda: MAFSampler().fit(VAE.build()), r"got an object of type VAEModel: .*use fit_to\(model, dataset\)"),
        (lambda: MAFSampler().fit([["a"]]), r"latents must be a tensor \(num, \*latent_shape\) of numbers"),
        (lambda: MAFSampler().fit_to("user/vae", images()), "needs a model and then a data set, got the text 'user/v"),
        (
            lambda: MAFSampler().fit_to(images(), VAE.build()),
            "needs a model .*, got an object of type Tensor as the m",
        ),
        (lambda: MAFSampler().fit_to(VAE.build(), "digits"), r"the name 'digits': pass load_images\('digits'\)"),
    ],
)
def test_wrong_arguments_of_a_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.sample(2.0), "num_samples must be an integer, got 2.0"),
        (lambda s: s.sample(-1), "num_samples must be 1 or more, got -1"),
        (lambda s: s.sample(2, 0), r"generator must be .* got 0: pass torch.Generator\(\).manual_seed\(0\)"),
        (lambda s: s.sample(2, class_labels=1), "sample has no option 'class_labels'"),
        (
            lambda s: s.log_prob(torch.zeros(2, 4)),
            r"latents has shape \(2, 4\), but .* fitted to latents of shape \(3,\)",
        ),
        (lambda s: s.log_prob(torch.zeros(3)), r"must be \(num, \*latent_shape\), got shape \(3,\)"),
    ],
)
def test_wrong_arguments_of_a_fitted_sampler(call, message):
    for sampler in (GaussianMixtureSampler(num_components=1), KernelDensitySampler()):
        with pytest.raises(ValueError, match=message):
            call(sampler.fit(LATENTS, progress=False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"codes": torch.rand(4, 2, 2)},
            r"codes must be a tensor of integers, got dtype torch.float32: .*encode_codes",
        ),
        ({"codes": np.zeros((4, 2, 2), int)}, "codes must be a tensor of integers, got an object of type ndarray"),
        ({"codes": CODES.bool()}, "codes must be a tensor of integers, got dtype torch.bool"),
        ({"codebooks": torch.randn(5)}, r"codebooks must be floats \(num_embeddings, dim\) or .*, got \(5,\)"),
        ({"codebooks": 3}, "codebooks must be floats .*, got 3"),
        (
            {"validation_codes": torch.zeros(4, 3, 3).long()},
            r"validation_codes has shape \(4, 3, 3\), but the sampler is fitted to codes of shape \(2, 2\) each",
        ),
        ({"validation_codes": CODES.float()}, "validation_codes must be a tensor of integers"),
        ({"validation_codes": CODES + 5}, r"validation_codes must lie in \[0, 5\)"),
        (
            {"class_labels": torch.zeros(3).long(), "num_classes": 2},
            "class_labels must be one integer, or one for each of 4 examples, got shape \\(3,\\)",
        ),
    ],
)
def test_wrong_codes(arguments, message):
    sampler = PixelCNNSampler(num_classes=arguments.pop("num_classes", None))
    with pytest.raises(ValueError, match=message):
        sampler.fit(**{"codes": CODES, "codebooks": BOOKS, "progress": False, **arguments})
    assert not sampler.config.is_fitted


def test_wrong_codes_and_labels_of_a_fitted_pixel_cnn():
    sampler = PixelCNNSampler(hidden_size=4, num_hidden_layers=1, num_classes=2)
    labels = torch.tensor([0, 1, 0, 1])
    sampler.fit(CODES.to(torch.uint8), BOOKS, class_labels=labels, num_train_epochs=1, progress=False)
    with pytest.raises(
        ValueError, match=r"codes has shape \(4, 2\), but the sampler is fitted to codes of shape \(2, 2\)"
    ):
        sampler.code_log_prob(CODES[:, 0], labels)
    with pytest.raises(
        ValueError, match=r"one integer, or one for each of 5 examples, got shape \(3,\)"
    ):
        sampler.sample(5, class_labels=torch.tensor([0, 1, 0]))
    assert torch.equal(sampler.code_log_prob(CODES, labels), sampler.code_log_prob(CODES.unsqueeze(-1), labels))


# Progress


@pytest.fixture
def bars(monkeypatch):
    """The progress bars that are opened: label, number of steps moved, and whether it is shown."""
    from gae_hub.samplers import base

    opened = []

    class Bar(base.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.moved, self.label, self.shown = 0, kwargs["desc"], not kwargs["disable"]
            opened.append(self)

        def update(self, n=1):
            self.moved += n
            return super().update(n)

    monkeypatch.setattr(base, "tqdm", Bar)
    return opened


@pytest.mark.parametrize("solver", ["sklearn", "torch"])
def test_the_bar_of_a_mixture_counts_iterations(bars, solver):
    GaussianMixtureSampler(num_components=[1, 2], solver=solver, tolerance=10.0).fit(LATENTS)
    assert [(bar.label, bar.shown) for bar in bars] == [(f"fitting a mixture of {k}", True) for k in (1, 2)]
    assert [bar.moved for bar in bars] == [2, 2]  # the second iteration improves by less than the tolerance


def test_the_bar_of_a_kernel_density_counts_bandwidths(bars):
    KernelDensitySampler().fit(LATENTS)
    assert [(bar.label, bar.moved, bar.total) for bar in bars] == [("fitting bandwidth", 38, 38)]


def test_fits_show_no_bars_without_progress(bars, capfd):
    model = VAE.build()
    for sampler in (GaussianMixtureSampler(num_components=1), KernelDensitySampler(), PriorSampler()):
        sampler.fit_to(model, images(), progress=False)
    MAFSampler(num_flows=1, hidden_size=4).fit_to(model, images(), images(8), progress=False, num_train_epochs=1)
    codes = PixelCNNSampler(hidden_size=4, num_hidden_layers=1)
    codes.fit_to(ROWS["vq_vae"].build(), images(20), images(9), progress=False, num_train_epochs=1)
    assert not any(bar.shown for bar in bars) and "%|" not in capfd.readouterr().err


def test_a_trained_sampler_shows_a_bar(capfd):
    sampler = PixelCNNSampler(hidden_size=4, num_hidden_layers=1)
    sampler.fit_to(ROWS["vq_vae"].build(), images(), num_train_epochs=1)
    assert "training: 100%" in capfd.readouterr().err
