"""The codebook: its lookup, its moving averages, its beginning and its revivals; and what the quantized models share.

Run as a script it is one of several processes that train together, for the test at the end.
"""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from cases import NETWORKS, SHAPE, generator, images
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel

from gae_hub import AutoGAE, HRQVAEConfig, HRQVAEModel, VQVAEConfig, VQVAEModel
from gae_hub.modules.codebooks import draw_tokens, perplexity
from gae_hub.modules.kmeans import kmeans

X = images(12)
FIELDS = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 6, **NETWORKS}
OWN = {"vq_vae": {}, "hrq_vae": {"codebook_init": "kmeans"}}
BOTH = pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
LAYOUTS = pytest.mark.parametrize("layout", ["spatial", "flat"])


def build(name="vq_vae", **fields):
    torch.manual_seed(0)
    cls, config = {"vq_vae": (VQVAEModel, VQVAEConfig), "hrq_vae": (HRQVAEModel, HRQVAEConfig)}[name]
    return cls(config(**{**FIELDS, **OWN[name], **fields}))


def codebook_of(config, **options):
    return VQVAEModel(config).build_codebook(config, **options)


def codebook(codes, counts=None, learned=False, **fields):
    """One in float64 that is past its beginning, with these codes and counts."""
    config = VQVAEConfig(**{**FIELDS, "num_embeddings": codes.shape[0], "latent_dim": codes.shape[1], **fields})
    book = codebook_of(config, learned=learned).double()
    book.codes.data.copy_(codes)
    book.counts.copy_(torch.ones(len(codes)) if counts is None else counts)
    book.initialized.fill_(True)
    return book


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def step(book, tokens, seed=0):
    """One training step: the codes that were looked up, and what was observed."""
    book.prepare(tokens, generator(seed))
    codes = book.find_nearest(tokens)
    return codes, book.observe(tokens, codes)


# Lookup


def test_the_nearest_code_is_the_nearest():
    tokens, codes = randn(4, 5, 7), randn(20, 7, seed=1)
    assert torch.equal(
        codebook(codes).find_nearest(tokens), torch.cdist(tokens.flatten(0, 1), codes).argmin(1).view(4, 5)
    )


def test_scores_are_distances_up_to_a_constant_for_each_token():
    tokens, codes = randn(9, 4), randn(6, 4, seed=1)
    constant = codebook(codes).compute_scores(tokens) + torch.cdist(tokens, codes).square()
    torch.testing.assert_close(constant, constant[:, :1].expand(-1, 6))


def test_far_from_the_origin_digits_are_left():
    """Squares of 1e8 in float32 are multiples of 8; the distances here are below 1."""
    codes = 0.1 * randn(20, 3) + 1e4
    tokens = (0.1 * randn(200, 3, seed=1) + 1e4).float()
    book = codebook(codes.float().double()).float()
    assert torch.equal(book.find_nearest(tokens), torch.cdist(tokens.double(), codes.float().double()).argmin(1))


def test_autocast_leaves_the_lookup_alone():
    tokens, book = randn(500, 3).float(), codebook(randn(50, 3, seed=1)).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.find_nearest(tokens), codebook(book.codes.double()).find_nearest(tokens.double()))


def test_no_step_makes_a_vector_for_each_pair():
    """(tokens, codes, dim) would be 128 MB here, a dense one-hot and its product cost as much time: no such event."""
    book, tokens = codebook(randn(500, 64)).float(), randn(1000, 64, seed=1).float()
    with torch.profiler.profile(profile_memory=True) as profile:
        step(book, tokens)
    assert 0 < max(event.self_cpu_memory_usage for event in profile.events()) < 20e6
    assert sum(event.name in ("aten::mm", "aten::addmm") for event in profile.events()) == 1


# Moving averages


def test_a_step_is_the_papers_formula():
    """N <- decay N + (1 - decay) n, m likewise, e = m / N."""
    codes, counts, tokens = randn(5, 3), torch.rand(5, generator=generator()).double() + 1, randn(40, 3, seed=2)
    book = codebook(codes, counts, codebook_decay=0.9)
    nearest, _ = step(book, tokens)
    n = torch.stack([(nearest == k).sum() for k in range(5)]).double()
    s = torch.stack([tokens[nearest == k].sum(0) for k in range(5)])
    new = 0.9 * counts + 0.1 * n
    torch.testing.assert_close(book.counts, new)
    torch.testing.assert_close(book.codes, (0.9 * counts.unsqueeze(1) * codes + 0.1 * s) / new.unsqueeze(1))


def test_averages_converge_to_the_means_of_what_they_are_given():
    tokens = torch.cat([randn(30, 2) - 8, randn(10, 2, seed=1) + 8])
    book = codebook(torch.tensor([[-5.0, -5.0], [5.0, 5.0]]), codebook_decay=0.8)
    for _ in range(200):
        step(book, tokens)
    means = torch.stack([tokens[:30].mean(0), tokens[30:].mean(0)])
    torch.testing.assert_close(book.codes, means)
    torch.testing.assert_close(book.counts, torch.tensor([30.0, 10.0]).double())
    step(book, tokens)
    torch.testing.assert_close(book.codes, means)  # a fixed point


def test_an_unused_code_stays_where_it_is():
    """Also when its count is too small for the format."""
    book = codebook(torch.tensor([[0.0], [100.0]]), codebook_decay=0.5, revival_threshold=0).float()
    for seed in range(300):
        step(book, randn(8, 1, seed=seed).float())
    assert book.codes[1] == 100 and book.counts[1] == 0
    step(book, torch.tensor([[90.0], [110.0], [0.0]]))
    assert book.codes[1] == 100
    step(book, torch.tensor([[105.0], [0.0]]))
    assert 100 < book.codes[1] < 105


def test_learned_codes_are_left_to_the_gradient():
    codes, tokens = randn(5, 3), randn(40, 3, seed=2)
    book = codebook(codes, learned=True)
    nearest, _ = step(book, tokens)
    assert torch.equal(book.codes.detach(), codes)
    torch.testing.assert_close(book.counts, 0.99 + 0.01 * nearest.bincount(minlength=5).double())


def test_evaluation_observes_only():
    book = codebook(randn(5, 3)).eval()
    before = deepcopy(book.state_dict())
    tokens = randn(40, 3, seed=2)
    metrics = book.observe(tokens, book.find_nearest(tokens))
    assert metrics["perplexity"] > 1
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())


@pytest.mark.parametrize(
    ("counts", "expected"), [([3.0] * 7, 7.0), ([0.0, 5.0, 0.0], 1.0), ([1.0, 1.0, 0.0, 0.0], 2.0)]
)
def test_perplexity_counts_the_codes_in_use(counts, expected):
    assert perplexity(torch.tensor(counts)).item() == pytest.approx(expected)


# Dead codes


@pytest.mark.parametrize("learned", [False, True])
def test_a_dead_code_moves_to_a_token_and_is_used(learned):
    codes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1e6, 1e6]])
    tokens = randn(20, 2) + torch.tensor([2.0, 0.0])
    book = codebook(codes, torch.tensor([15.0, 5.0, 0.05]), learned=learned)
    assert book.find_dead().tolist() == [False, False, True]
    mean = book.counts.mean()
    book.prepare(tokens, generator())
    assert torch.equal(book.codes[:2].detach(), codes[:2].double())  # the living stay
    assert (tokens == book.codes[2]).all(1).sum() == 1
    torch.testing.assert_close(book.counts, torch.stack([*torch.tensor([15.0, 5.0]).double(), mean]))
    assert (book.find_nearest(tokens) == 2).any()
    for seed in range(20):  # time to win tokens
        step(book, randn(20, 2, seed=seed) - 100)
        assert not book.find_dead()[2]


def test_dead_codes_get_different_tokens():
    tokens = randn(20, 2)
    book = codebook(torch.full((9, 2), 1e6).index_fill(0, torch.tensor([0]), 0.0), torch.eye(9)[0])
    book.prepare(tokens, generator())
    assert len(book.codes[1:].unique(dim=0)) == 8


def test_none_is_revived_below_a_threshold_of_zero():
    codes = torch.tensor([[0.0], [1e6]])
    book = codebook(codes, torch.tensor([10.0, 0.0]), revival_threshold=0)
    state = torch.get_rng_state()
    _, metrics = step(book, randn(10, 1))
    assert book.codes[1] == 1e6 and metrics["dead_codes"] == 1  # told all the same
    assert torch.equal(torch.get_rng_state(), state)


def test_random_tokens_are_all_tokens_before_one_comes_again():
    tokens = randn(10, 2)
    drawn = draw_tokens(tokens, 25, generator())
    for part in (drawn[:10], drawn[10:20]):
        assert torch.equal(part.sort(0).values, tokens.sort(0).values)
    assert not torch.equal(drawn[:10], tokens)
    firsts = torch.stack([draw_tokens(tokens, 1, generator(seed))[0, 0] for seed in range(2000)])
    counts = torch.stack([(firsts == token).sum() for token in tokens[:, 0]])
    assert ((counts - 200).square() / 200).sum() < 27.9  # chi square of 9 degrees of freedom, p = 0.001


# The beginning


def clusters(num=8, each=30, seed=0):
    """Tokens around well separated means, and the means of each cluster's tokens."""
    centres = 1000 * torch.eye(num, dtype=torch.float64)
    tokens = centres.repeat_interleave(each, 0) + randn(num * each, num, seed=seed)
    return tokens[torch.randperm(num * each, generator=generator())], tokens.view(num, each, num).mean(1)


@pytest.mark.parametrize("seed", range(10))
def test_kmeans_finds_separated_clusters(seed):
    tokens, means = clusters()
    found = kmeans(tokens, 8, 10, generator(seed))
    torch.testing.assert_close(found[found.argmax(1).argsort()], means)


def test_kmeans_has_digits_left_far_from_the_origin():
    tokens, means = (1e-3 * part for part in clusters())  # a spread of 1e-3 around means that are 1 apart
    found = kmeans((tokens + 3000).float(), 8, 10, generator()).double() - 3000
    torch.testing.assert_close(found[found.argmax(1).argsort()], means, atol=1e-3, rtol=0)


def distortion(tokens, centres):
    return torch.cdist(tokens, centres).square().min(1).values.mean()


def test_each_iteration_lowers_the_distortion():
    tokens = randn(500, 4)
    errors = [distortion(tokens, kmeans(tokens, 12, steps, generator())) for steps in (0, 1, 5, 20)]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    uniform = torch.stack([distortion(tokens, draw_tokens(tokens, 12, generator(s))) for s in range(20)]).mean()
    plus = torch.stack([distortion(tokens, kmeans(tokens, 12, 0, generator(s))) for s in range(20)]).mean()
    assert plus < uniform
    seeds = kmeans(tokens, 12, 0, generator())
    assert (seeds.unsqueeze(1) == tokens).all(-1).sum() == len(seeds.unique(dim=0)) == 12


@pytest.mark.parametrize("iterations", [0, 10])
def test_fewer_tokens_than_codes_are_repeated_with_noise(iterations):
    tokens = randn(4, 3)
    codes = kmeans(tokens, 11, iterations, generator())
    assert distortion(tokens, codes) < 1e-20
    assert len(codes.unique(dim=0)) == 11
    assert distortion(codes, tokens) < 1e-3
    same = kmeans(torch.ones(4, 3), 2, iterations, generator())  # nothing to tell apart
    assert torch.equal(same, torch.ones(2, 3))


def test_the_first_training_step_takes_the_codes_from_its_tokens():
    tokens, means = clusters()
    book = codebook_of(VQVAEConfig(**{**FIELDS, "num_embeddings": 8, "latent_dim": 8})).double()
    assert book.codes.abs().max() <= 1 / 8 and not book.initialized  # as in the paper's code
    book.prepare(tokens, generator())
    assert book.initialized
    torch.testing.assert_close(book.codes[book.codes.argmax(1).argsort()], means)
    torch.testing.assert_close(book.counts, torch.full((8,), 30.0).double())
    step(book, tokens)
    torch.testing.assert_close(book.codes[book.codes.argmax(1).argsort()], means)  # a fixed point at once
    codes = book.codes.clone()
    book.prepare(tokens + 1000, generator())
    assert torch.equal(book.codes, codes)


@BOTH
def test_a_reloaded_model_does_not_begin_again(name, tmp_path):
    model = build(name)
    model(X)
    model.save_pretrained(tmp_path)
    loaded = AutoGAE.from_pretrained(tmp_path).train()
    filled = build(name)
    filled.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    losses = [model(images(12, seed=1)).loss]
    for other in (loaded, filled):
        torch.manual_seed(1)
        losses.append(other(images(12, seed=1)).loss)
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    assert losses[0] == losses[1] == losses[2]


def test_a_state_from_before_the_beginning_begins_again():
    model = build()
    start = deepcopy(model.state_dict())
    model(X)
    model.load_state_dict(start)
    model(X)
    assert model.codebook.initialized and model.codebook.codes.abs().max() > 1 / 6


@BOTH
def test_only_training_moves_the_codebook(name):
    model = build(name)
    before = deepcopy(model.state_dict())
    model.eval()(X)
    model.encode_codes(X)
    model.train()
    model.reconstruct(X)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model(X)
    assert not all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@BOTH
def test_half_precision_keeps_the_statistics(name, tmp_path):
    model = build(name)
    model(X)
    model.save_pretrained(tmp_path)
    for half in (AutoGAE.from_pretrained(tmp_path, dtype=torch.bfloat16), deepcopy(model).to(torch.bfloat16)):
        books = {k: v for k, v in half.state_dict().items() if k.startswith("codebook")}
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in books.items())
        assert half.head.weight.dtype == torch.bfloat16
        assert half.train()(X).latents.dtype == half.sample_prior(2).dtype == torch.float32
        moved = {k: v for k, v in half.state_dict().items() if k.endswith("counts")}
        assert all(v.dtype == torch.float32 and not torch.equal(v, v.bfloat16().float()) for v in moved.values())
    assert {v.dtype for v in model.double().state_dict().values()} == {torch.float64, torch.bool}


# Layouts


@LAYOUTS
@BOTH
@pytest.mark.parametrize(
    ("networks", "positions"),
    [("conv", (2, 2)), ("resnet", (2, 2)), ("paper_conv", (1, 1)), ("paper_resnet", (4, 4))],
)
def test_every_network_in_both_layouts(name, layout, networks, positions):
    shape = (1, 28, 28) if networks.startswith("paper") else (1, 16, 16)
    model = build(
        name, input_shape=shape, encoder_config=networks, decoder_config=networks, latent_layout=layout
    ).train()
    x = images(2, shape)
    out = model(x)
    out.loss.backward()
    places = positions if layout == "spatial" else ()
    assert out.latents.shape == model.embed(x).shape == (2, 3, *places)
    assert out.codes.shape == model.encode_codes(x).shape == (2, *places, *((4,) if name == "hrq_vae" else ()))
    assert out.codes.dtype == torch.long and 0 <= out.codes.min() and out.codes.max() < 6
    assert model.generate(2).shape == model.interpolate(x[:1], x[1:], 2)[0].shape == x.shape
    assert all(p.grad is not None for p in model.parameters())


@BOTH
def test_layouts_that_cannot_be(name):
    assert build(name).latent_shape == (3,)  # "auto", where the features are vectors
    maps = {"encoder_config": "conv", "decoder_config": "conv", "input_shape": (1, 32, 32)}
    assert build(name, **maps).latent_shape == (3, 4, 4)
    assert build(name, **{**maps, "decoder_config": "mlp"})(images(2, (1, 32, 32))).latents.shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"latent_layout 'spatial' needs .* 'conv' or 'resnet', or .* 'flat'"):
        build(name, latent_layout="spatial")
    with pytest.raises(Exception, match="latent_layout"):
        build(name, latent_layout="rows")


def trained(name, layout="flat", **fields):
    """A model whose codes have found their places, in evaluation."""
    maps = {"encoder_config": {"model_type": "conv", "channels": [4]}, "latent_layout": layout}
    model = build(name, **maps, **fields)
    for seed in range(3):
        model(X, generator=generator(seed))
    return model.eval()


@LAYOUTS
@BOTH
def test_all_ways_pass_through_the_quantizer(name, layout):
    model = trained(name, layout)
    codes, embedding = model.encode_codes(X), model.embed(X)
    torch.testing.assert_close(model.lookup_codes(codes), embedding)
    assert not torch.allclose(model.encode(X).mean, embedding)
    out = model(X)
    assert torch.equal(out.codes, codes)
    torch.testing.assert_close(out.latents, embedding)
    torch.testing.assert_close(model.decode_codes(codes), model.reconstruct(X))
    torch.testing.assert_close(out.reconstruction, model.reconstruct(X))

    t = torch.linspace(0, 1, 7)
    path = model.interpolate_latents(embedding[:4], embedding[4:8], t)
    assert torch.equal(path[:, 0], embedding[:4]) and torch.equal(path[:, -1], embedding[4:8])
    line = torch.lerp(embedding[:4, None], embedding[4:8, None], t.view(1, -1, *[1] * (embedding.dim() - 1)))
    torch.testing.assert_close(path[:, 3], model.quantize(line[:, 3])[0])
    assert not torch.allclose(path[:, 3], line[:, 3])


@LAYOUTS
@BOTH
def test_what_a_sampler_draws_is_quantized(name, layout):
    model = trained(name, layout)
    drawn = torch.randn(4, *model.latent_shape, generator=generator())

    class Sampler:
        def sample(self, num_samples, generator=None):
            return drawn[:num_samples].double()

    torch.testing.assert_close(model.generate(3, Sampler()), model.decode(model.quantize(drawn[:3])[0]))
    assert not torch.allclose(model.generate(3, Sampler()), model.decode(drawn[:3]))  # decode takes what it gets


@LAYOUTS
@BOTH
def test_the_prior_is_uniform_over_codes(name, layout):
    model = trained(name, layout)
    asked = []
    lookup, model.lookup_codes = model.lookup_codes, lambda codes: asked.append(codes) or lookup(codes)
    latents = model.sample_prior(3000, generator())
    assert latents.shape == (3000, *model.latent_shape) and torch.equal(latents, lookup(asked[0]))
    assert asked[0].shape == (3000, *model.encode_codes(X).shape[1:])
    for places in asked[0].view(3000, -1).T:
        assert ((places.bincount(minlength=6) - 500).square() / 500).sum() < 20.5  # 5 degrees of freedom, p = 0.001


def test_the_largest_number_below_one_does_not_name_a_code_too_many():
    """Its product with the number of codes is never rounded up to that number."""
    sizes = torch.arange(1, 2**20)
    largest = torch.tensor(1 - 2.0**-24)
    assert largest < 1 and torch.equal((largest * sizes).long(), sizes - 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_embeddings": 0},
        {"codebook_decay": 1.0},
        {"codebook_decay": -0.1},
        {"revival_threshold": 1.0},
        {"revival_threshold": -0.1},
        {"num_kmeans_iterations": -1},
    ],
)
def test_bad_fields_are_named(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        VQVAEConfig(**fields)


# Several processes

BATCH, STEPS = 16, 4
SETTINGS = {
    "ema": ("vq_vae", {}),
    "gradient": ("vq_vae", {"codebook_update": "gradient"}),
    "many": ("vq_vae", {"num_embeddings": 40}),  # more codes than tokens
    "levels": ("hrq_vae", {"num_levels": 2}),
    "spheres": ("hrq_vae", {"num_levels": 2, "codebook_init": "sphere"}),
}


def train(setting: str, number: int, world: int) -> dict[str, torch.Tensor]:
    """State, loss and averaged gradients of one of `world` processes after some steps on its share of the batches."""
    name, fields = SETTINGS[setting]
    model = build(name, revival_threshold=0.5, codebook_decay=0.5, **fields).double().train()
    net = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    share, revived = BATCH // world, 0
    for seed in range(STEPS):
        own = images(BATCH, seed=seed).double()[number * share : (number + 1) * share]
        optimizer.zero_grad()
        torch.manual_seed(seed + 100 * number)  # noise of one's own: the first process's is what counts
        out = net(own)
        out.loss.backward()
        optimizer.step()
        revived += out.metrics["dead_codes"]
    loss = out.loss.detach().clone()
    if world > 1:
        dist.all_reduce(loss)
        loss /= world
    found = {f"gradient.{key}": p.grad for key, p in model.named_parameters()} | model.state_dict()
    found |= {"loss": loss, "perplexity": out.metrics["perplexity"], "revived": revived}
    return {key: value.clone().contiguous() for key, value in found.items()}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with what both processes found."""
    folder = tmp_path_factory.mktemp("quantizers")
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), number],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "01"
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=100)
            assert worker.returncode == 0, errors[-3000:]
    finally:
        for worker in workers:
            worker.kill()
    return folder


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_with_half_batches_are_one_with_the_whole(two_processes, setting):
    """k-means, revivals, moving averages, loss and gradients; noisy codes only agree between the processes."""
    one, other = (load_file(two_processes / f"{setting}.{number}.safetensors") for number in "01")
    assert one["revived"] > 0
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, msg=lambda text, key=key: f"{key}: {text}")
    if SETTINGS[setting][0] == "vq_vae":
        for key, value in train(setting, 0, 1).items():
            torch.testing.assert_close(one[key], value, msg=lambda text, key=key: f"{key}: {text}")


if __name__ == "__main__":
    target, process = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{target}/meeting", rank=process, world_size=2)
    for each in SETTINGS:
        save_file(train(each, process, 2), target / f"{each}.{process}.safetensors")
    dist.destroy_process_group()
