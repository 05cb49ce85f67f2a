"""Quantizers: exact enumeration of small codebooks, reductions to VQ, entropies by brute force; in float64.

vector-quantize-pytorch is an independent implementation.
"""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from cases import generator
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, SimVQ

from gae_hub import VQVAEConfig
from gae_hub.modules.lookup_free_quantizers import BinarySphericalQuantizer, FiniteScalarQuantizer, LookupFreeQuantizer
from gae_hub.modules.quantizer_base import Quantizer
from gae_hub.modules.quantizers import QUANTIZERS, GroupedQuantizer, build_quantizer, register_quantizer
from gae_hub.modules.vector_quantizers import ResidualVectorQuantizer, SimVectorQuantizer, VectorQuantizer

LEVELS = (2, 3, 4, 5)  # odd and even
FIELDS = {
    "vq": {"num_embeddings": 6, "latent_dim": 4},
    "fsq": {"num_embeddings": 120, "latent_dim": 4, "fsq_levels": LEVELS},
    "lfq": {"num_embeddings": 16, "latent_dim": 4},
    "bsq": {"num_embeddings": 16, "latent_dim": 4},
    "residual_vq": {"num_embeddings": 5, "latent_dim": 4, "num_levels": 3},
    "sim_vq": {"num_embeddings": 6, "latent_dim": 4},
}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


EVERY = pytest.mark.parametrize("name", FIELDS)


def build(name, num_groups=1, **fields):
    """A quantizer in float64, with code vectors that differ."""
    torch.manual_seed(0)
    values = {**FIELDS[name], **fields}
    config = VQVAEConfig(**{**values, "quantizer": name, "num_groups": num_groups}, input_shape=(1, 8, 8))
    quantizer = build_quantizer(config).double()
    for index, part in enumerate(quantizer.modules()):
        if isinstance(part, VectorQuantizer):
            part.codes.data.copy_(noise(*part.codes.shape, seed=index))
    return quantizer.eval()


def build_grouped(name, **fields):
    """Two groups of four coordinates."""
    return build(name, num_groups=2, latent_dim=8, **fields)


def all_codes(quantizer):
    """(num, *code_axes): every combination of codes of a token."""
    values = torch.arange(quantizer.num_embeddings)
    if not quantizer.code_axes:
        return values
    return torch.cartesian_prod(*[values] * quantizer.num_codes_per_token)


# What all have in common


@EVERY
def test_codes_and_tokens_are_inverse(name):
    """Each code's vector is a fixed point, and differs from those of the other codes."""
    quantizer = build(name)
    codes = all_codes(quantizer)
    vectors = quantizer.lookup(codes)
    assert vectors.shape == (len(codes), 4) and len(vectors.unique(dim=0)) == len(codes)
    assert len(codes) == round(2**quantizer.bits_per_token)
    if name == "fsq":  # the token whose bounded value is the code's
        half, offset = (quantizer.sizes - 1) * 0.5005, 0.5 * (quantizer.sizes % 2 == 0)
        vectors = ((vectors * quantizer.half_widths + offset) / half).atanh() - (offset / half).atanh()
    if name != "residual_vq":  # whose greedy search may find other codes with a sum that is not nearer
        assert torch.equal(quantizer.find_codes(vectors), codes)


@EVERY
@pytest.mark.parametrize("build_one", [build, build_grouped], ids=["one", "grouped"])
def test_a_token_is_the_sum_of_its_codes_vectors(name, build_one):
    quantizer = build_one(name)
    tokens = noise(30, quantizer.dim, seed=1)
    codes = quantizer.find_codes(tokens)
    assert codes.shape == (30, *quantizer.code_axes)
    columns = codes.view(30, -1).T
    parts = [vectors[own] for vectors, own in zip(quantizer.code_vectors, columns, strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(0), quantizer.lookup(codes))


@EVERY
@pytest.mark.parametrize("build_one", [build, build_grouped], ids=["one", "grouped"])
def test_step_and_lookup_agree(name, build_one):
    """In evaluation, `quantize` returns the codes of `find_codes` and the tokens of `lookup`, with a gradient."""
    quantizer = build_one(name)
    tokens = noise(3, 5, quantizer.dim, seed=1).requires_grad_()
    found = quantizer.quantize(tokens)
    assert torch.equal(found.codes, quantizer.find_codes(tokens)) and found.codes.dtype == torch.long
    torch.testing.assert_close(found.tokens, quantizer.lookup(found.codes))
    assert all(term.shape == (3, 5) for term in found.terms.values())
    (gradient,) = torch.autograd.grad(found.tokens.sum(), tokens)
    assert gradient.abs().min() > 0 or name == "bsq"
    if name in ("vq", "residual_vq", "sim_vq", "lfq"):
        assert torch.equal(gradient, torch.ones_like(tokens))
    shares = [column.bincount(minlength=quantizer.num_embeddings) / 15 for column in found.codes.view(15, -1).T]
    perplexities = torch.stack([torch.special.entr(share).sum().exp() for share in shares])
    torch.testing.assert_close(found.metrics["perplexity"].float(), perplexities.mean(), rtol=1e-5, atol=1e-5)


@EVERY
def test_codes_are_nearest(name):
    """Among all code vectors, by brute force. Residual VQ is greedy, FSQ nearest after the bound, BSQ by direction."""
    quantizer = build(name)
    tokens = noise(200, 4, seed=1)
    found = quantizer.lookup(quantizer.find_codes(tokens))
    every = quantizer.lookup(all_codes(quantizer))
    if name == "fsq":
        tokens = quantizer.bound(tokens) / quantizer.half_widths
    if name == "bsq":
        tokens = F.normalize(tokens, dim=-1)
    if name == "residual_vq":
        first = next(iter(quantizer))
        nearest = first.codes[torch.cdist(tokens, first.codes).argmin(1)]
        assert torch.equal(first.lookup(quantizer.find_codes(tokens)[:, 0]), nearest)
        assert ((tokens - found).norm(dim=1)).mean() < ((tokens - nearest).norm(dim=1)).mean()
    else:
        torch.testing.assert_close(found, every[torch.cdist(tokens, every).argmin(1)])


@EVERY
def test_groups_quantize_their_coordinates(name):
    grouped, tokens = build_grouped(name), noise(20, 8, seed=1)
    found = grouped.quantize(tokens)
    parts = [group.quantize(own) for group, own in zip(grouped, tokens.chunk(2, 1), strict=True)]
    torch.testing.assert_close(found.tokens, torch.cat([part.tokens for part in parts], 1))
    assert torch.equal(found.codes, torch.cat([part.codes.view(20, -1) for part in parts], 1))
    for term, values in found.terms.items():
        torch.testing.assert_close(values, parts[0].terms[term] + parts[1].terms[term])
    assert grouped.bits_per_token == 2 * build(name).bits_per_token
    assert not isinstance(build(name), GroupedQuantizer)  # one group is the quantizer itself


# Vector quantization


def test_residual_vq_with_one_level_is_vq():
    for update in ("ema", "gradient"):
        residual = build("residual_vq", num_levels=1, num_embeddings=6, codebook_update=update)
        single = build("vq", codebook_update=update)
        next(iter(residual)).load_state_dict(single.state_dict())
        assert residual.code_axes == single.code_axes == ()
        for quantizer in (residual, single):
            quantizer.train()
        for seed in range(3):
            tokens = noise(20, 4, seed=seed).requires_grad_()
            ours, theirs = (each.quantize(tokens, generator()) for each in (residual, single))
            torch.testing.assert_close(ours.tokens, theirs.tokens)
            assert torch.equal(ours.codes, theirs.codes) and ours.terms.keys() == theirs.terms.keys()
            for term, values in ours.terms.items():
                torch.testing.assert_close(values, theirs.terms[term])
        torch.testing.assert_close(next(iter(residual)).codes, single.codes)


def test_residual_vq_by_hand():
    """Terms and gradients: each level has the commitment and codebook terms of its own residual."""
    quantizer = build("residual_vq", codebook_update="gradient")
    tokens = noise(20, 4, seed=3).requires_grad_()
    found = quantizer.quantize(tokens)
    residual, square, gradient = tokens.detach(), 0, 0
    for level, own in zip(quantizer, found.codes.T, strict=True):
        nearest = torch.cdist(residual, level.codes.detach()).argmin(1)
        assert torch.equal(own, nearest)
        residual = residual - level.codes[nearest].detach()
        square, gradient = square + residual.square().sum(1), gradient + 2 * residual
    torch.testing.assert_close(found.terms["commitment"].detach(), square)
    torch.testing.assert_close(found.terms["codebook"].detach(), square)
    torch.testing.assert_close(torch.autograd.grad(found.terms["commitment"].sum(), tokens)[0], gradient)
    torch.testing.assert_close(found.tokens, tokens - residual)


def test_sim_vq_with_the_identity_is_vq_with_the_gradient_update():
    sim, single = build("sim_vq"), build("vq", codebook_update="gradient")
    sim.codes.copy_(single.codes.detach())
    sim.projection.weight.data.copy_(torch.eye(4))
    tokens = noise(20, 4, seed=1).requires_grad_()
    ours, theirs = sim.quantize(tokens), single.quantize(tokens)
    assert torch.equal(ours.codes, theirs.codes)
    torch.testing.assert_close(ours.tokens, theirs.tokens)
    for term in ("commitment", "codebook"):
        torch.testing.assert_close(ours.terms[term], theirs.terms[term])
    (of_codes,) = torch.autograd.grad(theirs.terms["codebook"].sum(), single.codes)
    (of_map,) = torch.autograd.grad(ours.terms["codebook"].sum(), sim.projection.weight)
    torch.testing.assert_close(of_map, of_codes.T @ sim.codes)
    assert not sim.codes.requires_grad


# FSQ, LFQ, BSQ


def test_fsq_codes_enumerate_the_grid():
    quantizer = build("fsq")
    axes = [(torch.arange(size) - size // 2).double() / (size // 2) for size in LEVELS]
    vectors = quantizer.lookup(torch.arange(120))
    assert {tuple(row.tolist()) for row in vectors} == {tuple(row.tolist()) for row in torch.cartesian_prod(*axes)}
    assert quantizer.find_codes(torch.full((4,), 50.0).double()) == 119  # the largest value of each coordinate
    assert quantizer.find_codes(torch.full((4,), -50.0).double()) == 0
    torch.testing.assert_close(quantizer.bound(torch.zeros(4).double()), torch.zeros(4).double())


def test_fsq_gradient_is_that_of_the_bound():
    quantizer, tokens = build("fsq"), noise(10, 4, seed=1).requires_grad_()
    (ours,) = torch.autograd.grad(quantizer.quantize(tokens).tokens.sum(), tokens)
    (expected,) = torch.autograd.grad((quantizer.bound(tokens) / quantizer.half_widths).sum(), tokens)
    torch.testing.assert_close(ours, expected)


def test_bsq_codes_lie_on_the_unit_sphere():
    quantizer = build("bsq")
    vectors = quantizer.lookup(torch.arange(16))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(16).double())
    torch.testing.assert_close(vectors.abs(), torch.full((16, 4), 0.5).double())
    scaled = quantizer.quantize(3 * noise(9, 4, seed=1)), quantizer.quantize(noise(9, 4, seed=1))
    for ours, other in zip(scaled[0].terms.values(), scaled[1].terms.values(), strict=True):
        torch.testing.assert_close(ours, other)  # only the direction counts


def probabilities(quantizer, tokens):
    """(num, K): p(c|z) over the enumerated codebook."""
    every = quantizer.lookup(torch.arange(quantizer.num_embeddings))
    return (-torch.cdist(tokens, every).square() / quantizer.temperature).softmax(1)


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_entropies_equal_those_over_the_enumerated_codebook(name, bits):
    fields = {"num_embeddings": 2**bits, "latent_dim": bits, "entropy_temperature": 0.7, "diversity_weight": 1.3}
    quantizer, tokens = build(name, **fields), 0.3 * noise(40, bits, seed=2)
    ours = quantizer.quantize(tokens).terms["entropy"]
    p = probabilities(quantizer, quantizer.normalize(tokens))
    each = torch.special.entr(p).sum(1)
    if name == "lfq":
        diversity = torch.special.entr(p.mean(0)).sum()
    else:  # of the bits' mean probabilities
        ones = p.mean(0) @ (torch.arange(2**bits).unsqueeze(1) >> torch.arange(bits) & 1).double()
        diversity = (torch.special.entr(ones) + torch.special.entr(1 - ones)).sum()
        assert diversity >= torch.special.entr(p.mean(0)).sum() - 1e-12
    torch.testing.assert_close(ours, each - 1.3 * diversity)


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_entropies_of_certain_bits_have_finite_gradients(name):
    """In float32, where probabilities of a small temperature are 0 or 1."""
    quantizer = build(name).float()
    tokens = torch.ones(5, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantizer.quantize(tokens).terms["entropy"].sum(), tokens)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_the_entropy_term_spreads_the_codes(name):
    """Gradient descent on it alone makes bits about equally frequent; with LFQ, whose entropy is exact, all codes."""
    quantizer = build(name, entropy_temperature=2.0)
    tokens = (0.6 + 0.3 * noise(256, 4, seed=1)).requires_grad_()
    assert len(quantizer.find_codes(tokens).unique()) < 8
    optimizer = torch.optim.Adam([tokens], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        quantizer.quantize(tokens).terms["entropy"].mean().backward()
        optimizer.step()
    assert quantizer.quantize(tokens).metrics["perplexity"] > (14 if name == "lfq" else 11)
    assert ((tokens > 0).double().mean(0) - 0.5).abs().max() < 0.15


# An independent implementation


@pytest.mark.parametrize("levels", [(3, 4, 5), (8, 8, 8), (7, 5, 5, 5)])
def test_fsq_equals_the_oracle(levels):
    size = int(torch.tensor(levels).prod())
    quantizer = build("fsq", num_embeddings=size, latent_dim=len(levels), fsq_levels=levels)
    oracle, tokens = FSQ(list(levels), allowed_dtypes=(torch.float64,)).double(), 2 * noise(2, 50, len(levels), seed=1)
    ours = tokens.clone().requires_grad_()
    theirs = tokens.clone().requires_grad_()
    quantized, indices = oracle(theirs)
    found = quantizer.quantize(ours)
    torch.testing.assert_close(found.tokens, quantized.to(torch.float64), rtol=1e-6, atol=1e-6)
    assert torch.equal(found.codes, indices.long())
    gradients = torch.autograd.grad(found.tokens.sum(), ours), torch.autograd.grad(quantized.sum(), theirs)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    every = torch.arange(size)
    torch.testing.assert_close(quantizer.lookup(every), oracle.indices_to_codes(every[None])[0].double())


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_lfq_and_bsq_equal_the_oracle(name):
    """Values, and the entropy term of LFQ. The oracle's first coordinate is the highest bit."""
    quantizer = build(name, entropy_temperature=0.5, diversity_weight=1.3)
    oracle = LFQ(dim=4, spherical=name == "bsq", entropy_loss_weight=1.0, diversity_gamma=1.3).train()
    tokens = 0.4 * noise(2, 30, 4, seed=1)
    found = quantizer.quantize(tokens)
    (quantized, indices, loss), *_ = [oracle(tokens.float(), inv_temperature=2.0)]
    torch.testing.assert_close(found.tokens.float(), quantized, rtol=1e-5, atol=1e-5)
    assert torch.equal(quantizer.find_codes(tokens.flip(-1)), indices.long())
    if name == "lfq":
        torch.testing.assert_close(found.terms["entropy"].mean().float(), loss, rtol=1e-4, atol=1e-4)


def test_residual_vq_equals_the_oracle():
    quantizer = build("residual_vq")
    oracle = ResidualVQ(dim=4, codebook_size=5, num_quantizers=3, commitment_weight=1.0).eval()
    for layer, level in zip(oracle.layers, quantizer, strict=True):
        layer._codebook.embed.data.copy_(level.codes[None])
    tokens = noise(2, 30, 4, seed=1)
    quantized, indices, _ = oracle(tokens.float())
    found = quantizer.quantize(tokens)
    assert torch.equal(found.codes, indices)
    torch.testing.assert_close(found.tokens.float(), quantized, rtol=1e-5, atol=1e-5)


def test_sim_vq_equals_the_oracle():
    quantizer = build("sim_vq")
    oracle = SimVQ(dim=4, codebook_size=6, rotation_trick=False).double()
    oracle.frozen_codebook.copy_(quantizer.codes)
    oracle.code_transform.weight.data.copy_(quantizer.projection.weight)
    tokens = noise(2, 30, 4, seed=1).requires_grad_()
    quantized, indices, loss = oracle(tokens)
    found = quantizer.quantize(tokens)
    assert torch.equal(found.codes, indices)
    torch.testing.assert_close(found.tokens, quantized)
    ours = (found.terms["codebook"] + 0.25 * found.terms["commitment"]).mean() / 4  # the oracle averages
    torch.testing.assert_close(ours, loss)
    gradients = [
        torch.autograd.grad(value, [tokens, weight])
        for value, weight in ((ours, quantizer.projection.weight), (loss, oracle.code_transform.weight))
    ]
    torch.testing.assert_close(*gradients)


# Names and errors


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantizer": "fsq2"}, r"quantizer 'fsq2' is not registered; did you mean 'fsq'"),
        ({"quantizer": "fsq"}, r"quantizer 'fsq' needs fsq_levels, .* such as \(8, 5, 5, 5\)"),
        ({"quantizer": "fsq", "fsq_levels": (8, 1)}, r"fsq_levels must be 2 or more each, got \(8, 1\)"),
        (
            {"quantizer": "fsq", "fsq_levels": (8, 8, 8), "latent_dim": 4},
            r"latent_dim must be 3 for quantizer 'fsq': .* the number of fsq_levels; got 4",
        ),
        (
            {"quantizer": "fsq", "fsq_levels": (8, 5), "latent_dim": 4, "num_groups": 2},
            r"num_embeddings must be 40, the product of fsq_levels \(8, 5\), got 512",
        ),
        ({"quantizer": "lfq", "num_embeddings": 100}, r"a power of two for quantizer 'lfq', got 100: choose 128"),
        (
            {"quantizer": "bsq", "latent_dim": 8},
            r"latent_dim must be 9 for quantizer 'bsq': .* log2 of num_embeddings",
        ),
        ({"quantizer": "lfq", "num_embeddings": 2**21, "latent_dim": 21}, r"at most 1048576, .* num_groups"),
        ({"latent_dim": 7, "num_groups": 2}, r"num_groups must divide latent_dim 7, got 2"),
        ({"num_groups": 0}, r"num_groups must be above 0, got 0"),
        ({"quantizer": "residual_vq", "num_levels": 0}, r"num_levels must be above 0, got 0"),
        ({"num_levels": 2}, r"num_levels=2 has no effect on quantizer 'vq': .* 'residual_vq'"),
        (
            {"quantizer": "sim_vq", "revival_threshold": 0.1},
            r"revival_threshold=0.1 has no effect on quantizer 'sim_vq'",
        ),
        ({"quantizer": "sim_vq", "latent_layout": "scalar"}, r"latent_layout 'scalar' needs quantizer 'vq'"),
        ({"latent_layout": "scalar", "num_groups": 2}, r"with num_groups=1, got 'vq' with num_groups=2"),
        ({"quantizer": "lfq", "latent_dim": 9, "entropy_temperature": 0}, r"entropy_temperature must be above 0"),
        ({"quantizer": "lfq", "latent_dim": 9, "entropy_weight": -1}, r"entropy_weight must be 0 or more, got -1"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(Exception, match=message):
        VQVAEConfig(**fields)


def test_registration():
    """A custom quantizer is built by its name, alone and in groups."""

    class Rounded(Quantizer):
        config_fields = ("commitment_weight",)

        def __init__(self, config, dim):
            super().__init__()
            self.dim, self.num_embeddings = dim, config.num_embeddings

    register_quantizer("rounded", Rounded)
    try:
        config = VQVAEConfig(quantizer="rounded", commitment_weight=2.0, num_groups=4)
        assert [type(part) for part in build_quantizer(config)] == [Rounded] * 4
        with pytest.raises(ValueError, match="quantizer 'vq' is already .*VectorQuantizer: choose another name"):
            register_quantizer("vq", Rounded)
        with pytest.raises(NotImplementedError, match="Rounded must define lookup"):
            _ = Rounded(config, 4).code_vectors
        Rounded.config_fields = ("width",)
        with pytest.raises(Exception, match="reads width, which VQVAEConfig does not have"):
            VQVAEConfig(quantizer="rounded")
    finally:
        del QUANTIZERS["rounded"]
    classes = [VectorQuantizer, FiniteScalarQuantizer, LookupFreeQuantizer, BinarySphericalQuantizer]
    assert list(QUANTIZERS.values()) == [*classes, ResidualVectorQuantizer, SimVectorQuantizer]


def test_any_config_with_the_fields_builds_a_quantizer():
    config = SimpleNamespace(**VQVAEConfig(quantizer="lfq", latent_dim=9).to_dict())
    assert isinstance(build_quantizer(config), LookupFreeQuantizer)
