"""Use of codebooks and of latent dimensions, and losses: the heights of bars and lines."""

import numpy as np
import pytest
from cases import MODELS, VAE, images
from plot.artists import texts

from gae_hub import GAETrainer, GAETrainingArguments, HRQVAEModel, plot

VQ = next(case for case in MODELS if case.id == "vq_vae")
X = images(30)


def test_use_of_a_codebook():
    model = VQ.build(num_embeddings=8).eval()
    codes = model.encode_codes(X).flatten()
    counts = np.bincount(codes.numpy(), minlength=8)
    figure = plot.plot_codebook_usage(model, X)
    (bars,) = figure.axes[0].patches
    np.testing.assert_allclose(bars.get_data().values, 100 * np.sort(counts)[::-1] / counts.sum())
    p = counts[counts > 0] / counts.sum()
    perplexity = np.exp(-(p * np.log(p)).sum())
    assert f"{(counts > 0).sum()} of 8 codes used, perplexity {perplexity:.1f}" in texts(figure)
    assert figure.axes[0].lines[0].get_ydata()[0] == 100 / 8
    with pytest.raises(ValueError, match="VAEModel has no codebook: expected a model such as VQVAEModel"):
        plot.plot_codebook_usage(VAE.build(), X)


def test_use_of_the_codebooks_of_levels():
    networks = {"encoder_config": "conv", "decoder_config": "conv"}
    fields = {"input_shape": (1, 8, 8), "latent_dim": 3, "num_embeddings": 6, "num_levels": 2}
    config = HRQVAEModel.config_class(**fields, **networks)
    model = HRQVAEModel(config).eval()
    codes = model.encode_codes(X).reshape(-1, 2).numpy()
    figure = plot.plot_codebook_usage(model, X, batch_size=7)
    assert len(figure.axes[0].patches) == 2
    for level, line in enumerate(figure.axes[0].patches):
        counts = np.sort(np.bincount(codes[:, level], minlength=6))[::-1]
        np.testing.assert_allclose(line.get_data().values, 100 * counts / counts.sum())


def test_use_of_the_codes_of_groups():
    networks = {"encoder_config": "conv", "decoder_config": "conv"}
    model = VQ.build(num_embeddings=8, num_groups=3, **networks).eval()
    codes = model.encode_codes(X).reshape(-1, 3).numpy()
    figure = plot.plot_codebook_usage(model, X, batch_size=7)
    for group, line in enumerate(figure.axes[0].patches):
        counts = np.sort(np.bincount(codes[:, group], minlength=8))[::-1]
        np.testing.assert_allclose(line.get_data().values, 100 * counts / counts.sum())
    assert [text.get_text()[:7] for text in figure.axes[0].get_legend().get_texts()] == [
        "code 1:",
        "code 2:",
        "code 3:",
    ]


def test_use_of_latent_dimensions(model):
    figure = plot.plot_latent_usage(model, X)
    kl = model.encode(X).kl_per_dimension().mean(0).sort(descending=True)
    np.testing.assert_allclose([bar.get_height() for bar in figure.axes[0].patches], kl.values.detach(), atol=1e-4)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [str(int(d)) for d in kl.indices]
    assert figure.axes[0].get_ylabel() == "KL to the prior, nats"
    many = plot.plot_latent_usage(VAE.build(latent_dim=64), X).axes[0]
    assert len(many.patches) == 64 and many.get_xlabel() == "latent dimensions, by their rank"


def test_losses(model, tmp_path):
    log = [{"epoch": e, "loss": 3.0 / e, "kl": 1.0} for e in (1, 2)] + [{"epoch": 2, "eval_loss": 2.0}]
    loss, _ = plot.plot_losses(log).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3.0, 1.5], [2.0]]
    with pytest.raises(ValueError, match="there are no losses: pass trainer.state.log_history"):
        plot.plot_losses(model)
    args = GAETrainingArguments(str(tmp_path), max_steps=2, logging_steps=1, report_to="none", disable_tqdm=True)
    trainer = GAETrainer(model, args, train_dataset=X)
    trainer.train()
    drawn = plot.plot_losses(model).axes[0].lines[0].get_ydata()
    assert list(drawn) == [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
