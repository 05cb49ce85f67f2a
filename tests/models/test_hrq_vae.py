"""HRQ-VAE: codes of each level, their distribution, and the terms of the loss; in float64."""

from copy import deepcopy
from math import exp, log

import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images
from torch.distributions import Categorical, kl_divergence

from gae_hub import HRQVAEConfig, HRQVAEModel, VQVAEConfig, VQVAEModel

X = images(12).double()
FREE = {"kl_weight": 0, "norm_loss_weight": 0}


def build(trained=True, **fields):
    """A model, with codes from one training step unless `trained` is False."""
    torch.manual_seed(0)
    values = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 6, "num_levels": 3, **NETWORKS}
    values = {**values, "codebook_init": "kmeans", **fields}
    model = HRQVAEModel(HRQVAEConfig(**values)).double()
    if trained:
        model.train()(X, generator=generator())
    return model.eval()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("networks", [{}, {"encoder_config": {"model_type": "conv", "channels": [4]}}])
def test_one_level_equals_vq_vae_in_evaluation(networks):
    model = build(num_levels=1, **FREE, **networks)
    values = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 6, "commitment_weight": 0, **NETWORKS}
    vq = VQVAEModel(VQVAEConfig(**{**values, **networks})).double().eval()
    vq.load_state_dict({key.replace("codebooks.0", "codebook"): value for key, value in model.state_dict().items()})
    ours, theirs = model(X), vq(X)
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.latents, theirs.latents)
    assert torch.equal(ours.codes.squeeze(-1), theirs.codes)
    torch.testing.assert_close(model.reconstruct(X), vq.reconstruct(X))


def test_each_level_uses_the_nearest_code_to_the_residual():
    model = build()
    residual, vectors = model.encode(X).mean, []
    for codebook in model.codebooks:
        nearest = torch.cdist(residual, codebook.codes).argmin(1)
        vectors.append(codebook.codes[nearest])
        residual = residual - vectors[-1]
    torch.testing.assert_close(model.embed(X), sum(vectors).detach())
    levels = model.quantize_levels(model.encode(X).mean)
    torch.testing.assert_close(levels.vectors, torch.stack(vectors, 1))
    torch.testing.assert_close(levels.residuals[:, 0], model.encode(X).mean)
    torch.testing.assert_close(levels.residuals[:, 2], model.encode(X).mean - vectors[0] - vectors[1])


def test_levels_reduce_the_error():
    """With codes from k-means, each level reduces the error of the sum on the tokens that k-means used."""
    model = build(trained=False, num_embeddings=4)
    tokens = randn(300, 3)
    model.train().codebooks.prepare(tokens, generator())
    vectors = model.quantize_levels(tokens).vectors.detach()
    errors = [(tokens - vectors[:, :depth].sum(1)).square().sum(1).mean() for depth in range(4)]
    assert errors[0] > 1.5 * errors[1] and errors[1] > 1.5 * errors[2] and errors[2] > 1.5 * errors[3]


@pytest.mark.parametrize("minimum", [0.5, 1.0])
def test_distribution_of_sampled_codes(minimum):
    """It is softmax(scores) at every temperature, which divides scores and noise alike."""
    model = build(num_levels=1, min_temperature=minimum)
    assert model.compute_temperatures() == minimum
    token, num = randn(1, 3), 20_000
    probabilities = torch.cdist(token, model.codebooks[0].codes).square().neg().softmax(1)[0].detach()
    codes = model.quantize_levels(token.expand(num, 3), sample=True, generator=generator()).codes
    expected = num * probabilities
    assert probabilities.max() < 0.9
    statistic = ((codes.flatten().bincount(minlength=6) - expected).square() / expected)[expected > 5].sum()
    assert statistic < 20.5  # 5 degrees of freedom, p = 0.001


def test_gradient_of_the_gumbel_softmax():
    """One-hot in the forward pass, softmax((scores + noise) / temperature) in the backward pass."""
    model = build(num_levels=2)
    model.progress.fill_(0.1)
    tokens = randn(7, 3).requires_grad_()
    weight = randn(7, 3, seed=1)
    parameters = [tokens, *(codebook.codes for codebook in model.codebooks)]
    sums = model.quantize_levels(tokens, True, generator()).vectors.sum(1)
    ours = torch.autograd.grad((weight * sums).sum(), parameters)

    source, residual, total = generator(), tokens, 0
    for codebook, temperature in zip(model.codebooks, model.compute_temperatures(), strict=True):
        square = (residual.unsqueeze(1) - codebook.codes).square().sum(-1)
        noise = torch.rand(square.shape, generator=source, dtype=torch.float64)
        soft = ((-square - torch.log(-torch.log(noise))) / temperature).softmax(1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
        vectors = (hard + soft - soft.detach()) @ codebook.codes
        total, residual = total + vectors, residual - vectors
    theirs = torch.autograd.grad((weight * total).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other)


def kl(codes, tokens):
    """(num,): the KL of one level with these code vectors, in nats, for tokens (num, 3)."""
    model = build(num_levels=1, num_embeddings=len(codes))
    model.codebooks[0].codes.data.copy_(codes)
    return model.quantize_levels(tokens).kl[:, 0].detach()


def test_kl_in_closed_form():
    tokens, codes = randn(9, 3), randn(5, 3, seed=1)
    q = Categorical(logits=-torch.cdist(tokens, codes).square())
    torch.testing.assert_close(kl(codes, tokens), kl_divergence(q, Categorical(logits=torch.zeros(5).double())))
    assert (kl(codes, tokens) > 0).all()
    torch.testing.assert_close(kl(torch.ones(5, 3).double(), tokens), torch.zeros(9).double())  # equal distances
    apart = 1e3 * torch.eye(3).double()
    torch.testing.assert_close(kl(apart, apart), torch.full((3,), log(3)).double())  # one certain code


def test_temperature_schedule():
    model = build()
    for progress in (0.0, 0.5, 1.0):
        model.progress.fill_(progress)
        expected = [max(exp(-3.0 * progress / 1.5**level), 0.5) for level in range(3)]
        torch.testing.assert_close(model.compute_temperatures(), torch.tensor(expected, dtype=torch.float64))
    pythae = [max(exp(-100 / (100 / 3 * 1.5**level)), 0.5) for level in range(3)]  # its schedule after 100 epochs
    torch.testing.assert_close(model.compute_temperatures(), torch.tensor(pythae, dtype=torch.float64))
    model.progress.fill_(0.0)
    assert torch.equal(model.compute_temperatures(), torch.ones(3).double())


def test_evaluation_is_deterministic():
    model = build()
    first = model(X, generator=generator())
    model.progress.fill_(0.0)
    second = model(X, generator=generator(1))
    assert first.loss == second.loss and torch.equal(first.codes, second.codes)
    assert torch.equal(first.codes, model.encode_codes(X))
    draws = [model.embed(X, sample=True, generator=generator(seed)) for seed in (0, 1)]
    assert not torch.equal(*draws)
    assert not torch.equal(model.train()(X, generator=generator()).codes, first.codes)


def test_depth_mask():
    """Level h is kept with probability (1 - rate)^h. No level is kept after a dropped one."""
    model = build(num_levels=4, depth_drop_rate=0.3)
    mask = model.draw_depth_mask(torch.empty(20_000, 4), generator())
    assert (mask[:, 0] == 1).all() and (mask.diff(dim=1) <= 0).all() and set(mask.unique().tolist()) == {0.0, 1.0}
    for level, share in enumerate(mask.mean(0).tolist()):
        p = 0.7**level
        assert abs(share - p) <= 4 * (p * (1 - p) / 20_000) ** 0.5


def test_depth_dropout_affects_only_the_latents_in_training():
    for rate in (0.0, 0.999):
        model = build(num_levels=2, depth_drop_rate=rate, revival_threshold=0).train()
        before = deepcopy(model.state_dict())
        out = model(X, generator=generator(1))
        first, second = (before[f"codebooks.{level}.codes"][codes] for level, codes in enumerate(out.codes.unbind(1)))
        torch.testing.assert_close(out.latents.detach(), first + (0 if rate else second))
        model.load_state_dict(before)
        levels = model.quantize_levels(model.encode(X).mean, True, generator(1))
        torch.testing.assert_close(out.losses["kl"], levels.kl.sum(1).mean().detach())
        assert torch.equal(levels.codes, out.codes)
        torch.testing.assert_close(model.eval()(X).latents.detach(), model.embed(X))


def test_norm_loss():
    model = build(num_levels=3, norm_loss_scale=1.5)
    vectors = torch.zeros(2, 3, 3, dtype=torch.float64)
    vectors[0, :, 0] = torch.tensor([3.0, 1.0, 1.0])  # ratios 1/3 and 1, losses 0 and (1.5 - 1)^2
    vectors[1, :, 1] = torch.tensor([1.0, 2.0, 0.5])  # ratios 2 and 1/4, losses (3 - 1)^2 and 0
    expected = torch.tensor([0.125, 2.0], dtype=torch.float64)
    torch.testing.assert_close(model.compute_norm_loss(vectors).sum(1), expected)
    assert model.compute_norm_loss(torch.zeros(1, 3, 3)).sum() == 0
    assert build(num_levels=1)(X).losses["norm"] == 0
    assert model(X).losses["norm"] > 0


@pytest.mark.parametrize("networks", [{}, {"encoder_config": {"model_type": "conv", "channels": [4]}}])
def test_terms_and_metrics_by_hand(networks):
    model = build(kl_weight=0.3, norm_loss_weight=0.2, **networks)
    out = model(X)
    levels = model.quantize_levels(model.encode(X).mean)
    reconstruction = 0.5 * (model.reconstruct(X) - X).square().sum() / len(X)
    divergence = levels.kl.sum().detach() / len(X)
    norm = model.compute_norm_loss(levels.vectors).sum().detach() / len(X)
    torch.testing.assert_close(out.losses["kl"], divergence)
    torch.testing.assert_close(out.losses["norm"], norm)
    torch.testing.assert_close(out.loss.detach(), reconstruction + 0.3 * divergence + 0.2 * norm)
    torch.testing.assert_close(model(torch.cat([X, X])).loss, out.loss)
    perplexity = out.metrics["perplexity_per_level"]
    for level, codes in enumerate(out.codes.flatten(0, -2).T):
        share = codes.bincount(minlength=6).double() / codes.numel()
        torch.testing.assert_close(perplexity[level], torch.exp(-(share * (share + 1e-300).log()).sum()))
    torch.testing.assert_close(out.metrics["perplexity"], perplexity.mean())


def test_codes_on_spheres():
    model = build(trained=False, codebook_init="sphere", init_scale=2.0, init_decay=0.25)
    before = deepcopy(model.state_dict())
    for level, codebook in enumerate(model.codebooks):
        torch.testing.assert_close(codebook.codes.norm(dim=1), torch.full((6,), 2.0 * 0.25**level).double())
    model.train()(X)  # the data do not replace them
    assert all(
        torch.equal(codebook.codes, before[f"codebooks.{i}.codes"]) for i, codebook in enumerate(model.codebooks)
    )


def test_training_lowers_the_loss_and_uses_the_codes():
    patterns = torch.rand(10, 1, 8, 8, generator=generator(9))
    wide = {"encoder_config": {"hidden_sizes": [64]}, "decoder_config": {"hidden_sizes": [64]}}
    model = build(trained=False, num_embeddings=8, codebook_init="sphere", **wide).float().train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for seed in range(250):
        model.progress.fill_(seed / 250)
        x = patterns[torch.randint(10, (64,), generator=generator(seed))]
        out = model(x, generator=generator(seed))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(out.losses["reconstruction"].item())
    test = model.eval()(patterns)
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20]) and test.losses["reconstruction"] < 0.6 * losses[0]
    assert test.metrics["perplexity_per_level"].min() > 2


def test_compiles_to_one_graph_after_the_first_step():
    torch._dynamo.reset()
    for training in (False, True):
        model = build().train(training)
        other = deepcopy(model)
        compiled = torch.compile(other, backend="eager", fullgraph=True)
        for _ in range(2):
            torch.manual_seed(1)
            expected = model(X).loss
            torch.manual_seed(1)
            torch.testing.assert_close(compiled(X).loss, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_levels": 0},
        {"kl_weight": -1},
        {"norm_loss_weight": -1},
        {"norm_loss_scale": 0},
        {"temperature_decay": -1},
        {"min_temperature": 0},
        {"depth_drop_rate": 1.0},
        {"codebook_init": "cube"},
        {"init_scale": 0},
        {"init_decay": 0},
    ],
)
def test_invalid_fields(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        HRQVAEConfig(**fields)
