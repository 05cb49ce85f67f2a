"""VQ-VAE: terms and gradients by hand, reduction to the AE, and training; in float64."""

from copy import deepcopy

import pytest
import torch
from cases import AE, NETWORKS, SHAPE, generator, images

from gae_hub import VQVAEConfig, VQVAEModel
from gae_hub.models.vq_vae import VQVAEOutput
from gae_hub.modules.posteriors import PointMass

X = images(12).double()
MAPS = {"encoder_config": {"model_type": "conv", "channels": [4]}}  # 4 x 4 tokens per image


def build(trained=True, **fields):
    """A model, with codes from one training step unless `trained` is False."""
    torch.manual_seed(0)
    values = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 6, **NETWORKS, **fields}
    model = VQVAEModel(VQVAEConfig(**values)).double()
    if trained:
        model.train()(X, generator=generator())
    return model.eval()


def with_latents(model, z):
    """The model, with an encoder that always returns z."""
    model.encode = lambda pixel_values: PointMass(z)
    return model


@pytest.mark.parametrize("update", ["ema", "gradient"])
@pytest.mark.parametrize("networks", [{}, MAPS], ids=["flat", "spatial"])
def test_gradients_by_hand(update, networks):
    """z has the decoder's gradient at the codes plus 2 beta (z - e), and e has 2 (e - z) of each of its tokens."""
    model = build(codebook_update=update, commitment_weight=0.7, codebook_weight=1.3, **networks)
    z = model.encode(X).mean.detach().requires_grad_()
    codes = model.encode_codes(X)
    out = with_latents(model, z)(X)
    ours = torch.autograd.grad(out.loss, [z, *([model.codebook.codes] if update == "gradient" else [])])

    quantized = model.lookup_codes(codes).detach().requires_grad_()
    ae = AE.build(**networks).double()
    ae.decoder = model.decoder
    ae.latent_shape = model.latent_shape
    (at_the_codes,) = torch.autograd.grad(-ae.log_prob(X, quantized)[0].mean(), quantized)
    assert at_the_codes.abs().max() > 0
    difference = (z - quantized).detach()
    torch.testing.assert_close(ours[0], at_the_codes + 2 * 0.7 * difference / len(X))
    assert not model.codebook.codes.requires_grad or update == "gradient"
    if update == "gradient":
        each = -2 * 1.3 * difference.movedim(1, -1).flatten(0, -2) / len(X)
        torch.testing.assert_close(ours[1], torch.zeros_like(ours[1]).index_add_(0, codes.flatten(), each))


@pytest.mark.parametrize("networks", [{}, MAPS], ids=["flat", "spatial"])
def test_terms_by_hand(networks):
    model = build(codebook_update="gradient", commitment_weight=0.7, codebook_weight=1.3, **networks)
    out, z, embedding = model(X), model.encode(X).mean, model.embed(X)
    square = (z - embedding).square().sum() / len(X)
    reconstruction = 0.5 * (model.reconstruct(X) - X).square().sum() / len(X)
    torch.testing.assert_close(out.losses["commitment"], square.detach())
    torch.testing.assert_close(out.losses["codebook"], square.detach())
    torch.testing.assert_close(out.losses["reconstruction"], reconstruction)
    torch.testing.assert_close(out.loss.detach(), reconstruction + 2.0 * square.detach())
    assert isinstance(out, VQVAEOutput) and torch.equal(out.codes, model.encode_codes(X))


def test_loss_does_not_depend_on_the_batch_size():
    model = build()
    twice = model(torch.cat([X, X]))
    torch.testing.assert_close(twice.loss, model(X).loss)
    assert "codebook" not in twice.losses  # moving averages need no such term


@pytest.mark.parametrize("networks", [{}, MAPS], ids=["flat", "spatial"])
def test_codebook_of_all_tokens_equals_the_ae(networks):
    """Reconstruction and loss are those of the AE with the same weights, and the commitment term is 0."""
    model = build(num_embeddings=len(X) * (16 if networks else 1), **networks)
    tokens = model.encode(X).mean.detach().movedim(1, -1).flatten(0, -2)
    model.codebook.codes.copy_(tokens[torch.randperm(len(tokens), generator=generator())])
    out = model(X)
    z = model.encode(X).mean
    assert torch.equal(out.latents, z) and out.losses["commitment"] == 0
    log_p, reconstruction = model.log_prob(X, z)
    torch.testing.assert_close(out.reconstruction, reconstruction)
    torch.testing.assert_close(out.loss, -log_p.mean())
    if not networks:
        ae = AE.build().double()
        ae.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("codebook")})
        torch.testing.assert_close(out.loss, ae(X).loss)
        torch.testing.assert_close(model.reconstruct(X), ae.reconstruct(X))


def test_a_step_decodes_the_codes_before_its_update():
    model = build(revival_threshold=0).train()
    before = model.codebook.codes.clone()
    x = images(12, seed=3).double()
    expected = deepcopy(model).eval()(x)
    out = model(x)
    torch.testing.assert_close(out.loss, expected.loss)
    torch.testing.assert_close(out.latents, before[out.codes])
    assert not torch.allclose(model.codebook.codes, before)


def test_flat_latents_have_one_code():
    """Each image has one code vector, not one code per coordinate."""
    model = build(latent_dim=5)
    assert model.encode_codes(X).shape == (12,) and model.codebook.codes.shape == (6, 5)
    assert len(model.embed(X).unique(dim=0)) <= 6


def test_metrics():
    model = build()
    share = model.encode_codes(X).bincount(minlength=6).double() / len(X)
    found = model(X).metrics
    torch.testing.assert_close(found["perplexity"], torch.exp(-(share * (share + 1e-300).log()).sum()))
    model.codebook.counts.copy_(torch.tensor([0.005, 0.006, 1.0, 1.0, 0.039, 0.041]))  # 0.01 of the mean is 0.0035
    assert model(X).metrics["dead_codes"] == 0
    model.codebook.counts[0] = 0
    assert model(X).metrics["dead_codes"] == 1


def blobs(num, seed):
    """Images around 10 patterns."""
    patterns = torch.rand(10, 1, 8, 8, generator=generator(9))
    labels = torch.randint(10, (num,), generator=generator(seed))
    return (patterns[labels] + 0.05 * torch.randn(num, 1, 8, 8, generator=generator(seed))).clamp(0, 1)


@pytest.mark.parametrize("update", ["ema", "gradient"])
@pytest.mark.parametrize("networks", [{}, MAPS], ids=["flat", "spatial"])
def test_training_lowers_the_loss_and_uses_the_codes(update, networks):
    wide = {"encoder_config": {"hidden_sizes": [64]}, "decoder_config": {"hidden_sizes": [64]}, **networks}
    model = build(trained=False, num_embeddings=16, codebook_update=update, **wide).float().train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for seed in range(250):
        out = model(blobs(64, seed))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(out.losses["reconstruction"].item())
    test = model.eval()(blobs(500, 1000))
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    assert test.metrics["perplexity"] > 5 and test.metrics["dead_codes"] == 0


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_compiles_to_one_graph_after_the_first_step(update):
    torch._dynamo.reset()
    for training in (False, True):
        model = build(codebook_update=update).train(training)
        other = deepcopy(model)
        compiled = torch.compile(other, backend="eager", fullgraph=True)
        for _ in range(2):
            torch.manual_seed(1)
            expected = model(X).loss
            torch.manual_seed(1)
            torch.testing.assert_close(compiled(X).loss, expected)
        torch.testing.assert_close(other.codebook.codes, model.codebook.codes)


@pytest.mark.parametrize(
    "fields", [{"commitment_weight": -1}, {"codebook_weight": -1}, {"codebook_update": "adam"}, {"codebook_decay": 2}]
)
def test_invalid_fields(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        VQVAEConfig(**fields)
