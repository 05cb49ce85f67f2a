"""Codebooks: lookup, moving averages, dead codes, and k-means; in float64."""

from copy import deepcopy

import pytest
import torch
from cases import generator

from gae_hub.modules.codebooks import Codebook, draw_tokens, perplexity
from gae_hub.modules.kmeans import kmeans


def codebook(codes, counts=None, **options):
    """An initialised codebook in float64, with these code vectors and counts."""
    book = Codebook(*codes.shape, **options).double()
    book.codes.data.copy_(codes)
    book.counts.copy_(torch.ones(len(codes)) if counts is None else counts)
    book.initialized.fill_(True)
    return book


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def step(book, tokens, seed=0):
    """One training step. Returns the codes of the tokens, and the metrics."""
    book.prepare(tokens, generator(seed))
    codes = book.find_nearest(tokens)
    return codes, book.observe(tokens, codes)


# Lookup


def test_find_nearest():
    tokens, codes = randn(4, 5, 7), randn(20, 7, seed=1)
    assert torch.equal(
        codebook(codes).find_nearest(tokens), torch.cdist(tokens.flatten(0, 1), codes).argmin(1).view(4, 5)
    )


def test_compute_scores():
    tokens, codes = randn(9, 4), randn(6, 4, seed=1)
    constant = codebook(codes).compute_scores(tokens) + torch.cdist(tokens, codes).square()
    torch.testing.assert_close(constant, constant[:, :1].expand(-1, 6))


def test_find_nearest_far_from_the_origin():
    """Squares of 1e8 in float32 are multiples of 8; the distances here are below 1."""
    codes = 0.1 * randn(20, 3) + 1e4
    tokens = (0.1 * randn(200, 3, seed=1) + 1e4).float()
    book = codebook(codes.float().double()).float()
    assert torch.equal(book.find_nearest(tokens), torch.cdist(tokens.double(), codes.float().double()).argmin(1))


def test_find_nearest_ignores_autocast():
    tokens, book = randn(500, 3).float(), codebook(randn(50, 3, seed=1)).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.find_nearest(tokens), codebook(book.codes.double()).find_nearest(tokens.double()))


def test_memory_and_products_of_a_step():
    """A tensor (tokens, codes, dim) would have 128 MB here, and a one-hot matrix would need a second product."""
    book, tokens = codebook(randn(500, 64)).float(), randn(1000, 64, seed=1).float()
    with torch.profiler.profile(profile_memory=True) as profile:
        step(book, tokens)
    assert 0 < max(event.self_cpu_memory_usage for event in profile.events()) < 20e6
    assert sum(event.name in ("aten::mm", "aten::addmm") for event in profile.events()) == 1


# Moving averages


def test_step_by_the_papers_formula():
    """N <- decay N + (1 - decay) n, m likewise, e = m / N."""
    codes, counts, tokens = randn(5, 3), torch.rand(5, generator=generator()).double() + 1, randn(40, 3, seed=2)
    book = codebook(codes, counts, ema_decay=0.9)
    nearest, _ = step(book, tokens)
    n = torch.stack([(nearest == k).sum() for k in range(5)]).double()
    s = torch.stack([tokens[nearest == k].sum(0) for k in range(5)])
    new = 0.9 * counts + 0.1 * n
    torch.testing.assert_close(book.counts, new)
    torch.testing.assert_close(book.codes, (0.9 * counts.unsqueeze(1) * codes + 0.1 * s) / new.unsqueeze(1))


def test_averages_converge_to_the_means_of_the_tokens():
    tokens = torch.cat([randn(30, 2) - 8, randn(10, 2, seed=1) + 8])
    book = codebook(torch.tensor([[-5.0, -5.0], [5.0, 5.0]]), ema_decay=0.8)
    for _ in range(200):
        step(book, tokens)
    means = torch.stack([tokens[:30].mean(0), tokens[30:].mean(0)])
    torch.testing.assert_close(book.codes, means)
    torch.testing.assert_close(book.counts, torch.tensor([30.0, 10.0]).double())
    step(book, tokens)
    torch.testing.assert_close(book.codes, means)  # a fixed point


def test_unused_codes_do_not_move():
    """Also if their counts underflow to 0."""
    book = codebook(torch.tensor([[0.0], [100.0]]), ema_decay=0.5, revival_threshold=0).float()
    for seed in range(300):
        step(book, randn(8, 1, seed=seed).float())
    assert book.codes[1] == 100 and book.counts[1] == 0
    step(book, torch.tensor([[90.0], [110.0], [0.0]]))
    assert book.codes[1] == 100
    step(book, torch.tensor([[105.0], [0.0]]))
    assert 100 < book.codes[1] < 105


def test_learned_codes_are_not_averaged():
    codes, tokens = randn(5, 3), randn(40, 3, seed=2)
    book = codebook(codes, learned=True)
    nearest, _ = step(book, tokens)
    assert torch.equal(book.codes.detach(), codes)
    torch.testing.assert_close(book.counts, 0.99 + 0.01 * nearest.bincount(minlength=5).double())


def test_evaluation_changes_nothing():
    book = codebook(randn(5, 3)).eval()
    before = deepcopy(book.state_dict())
    tokens = randn(40, 3, seed=2)
    metrics = book.observe(tokens, book.find_nearest(tokens))
    assert metrics["perplexity"] > 1
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())


@pytest.mark.parametrize(
    ("counts", "expected"), [([3.0] * 7, 7.0), ([0.0, 5.0, 0.0], 1.0), ([1.0, 1.0, 0.0, 0.0], 2.0)]
)
def test_perplexity(counts, expected):
    assert perplexity(torch.tensor(counts)).item() == pytest.approx(expected)


# Dead codes


@pytest.mark.parametrize("learned", [False, True])
def test_dead_code_moves_to_a_token(learned):
    codes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1e6, 1e6]])
    tokens = randn(20, 2) + torch.tensor([2.0, 0.0])
    book = codebook(codes, torch.tensor([15.0, 5.0, 0.05]), learned=learned)
    assert book.find_dead().tolist() == [False, False, True]
    mean = book.counts.mean()
    book.prepare(tokens, generator())
    assert torch.equal(book.codes[:2].detach(), codes[:2].double())  # used codes do not move
    assert (tokens == book.codes[2]).all(1).sum() == 1
    torch.testing.assert_close(book.counts, torch.stack([*torch.tensor([15.0, 5.0]).double(), mean]))
    assert (book.find_nearest(tokens) == 2).any()
    for seed in range(20):  # it stays alive for a while without tokens
        step(book, randn(20, 2, seed=seed) - 100)
        assert not book.find_dead()[2]


def test_dead_codes_move_to_different_tokens():
    tokens = randn(20, 2)
    book = codebook(torch.full((9, 2), 1e6).index_fill(0, torch.tensor([0]), 0.0), torch.eye(9)[0])
    book.prepare(tokens, generator())
    assert len(book.codes[1:].unique(dim=0)) == 8


def test_threshold_of_zero_revives_no_code():
    codes = torch.tensor([[0.0], [1e6]])
    book = codebook(codes, torch.tensor([10.0, 0.0]), revival_threshold=0)
    state = torch.get_rng_state()
    _, metrics = step(book, randn(10, 1))
    assert book.codes[1] == 1e6 and metrics["dead_codes"] == 1  # reported all the same
    assert torch.equal(torch.get_rng_state(), state)


def test_draw_tokens():
    """No token is drawn twice before all are drawn, and the first one is uniformly random."""
    tokens = randn(10, 2)
    drawn = draw_tokens(tokens, 25, generator())
    for part in (drawn[:10], drawn[10:20]):
        assert torch.equal(part.sort(0).values, tokens.sort(0).values)
    assert not torch.equal(drawn[:10], tokens)
    firsts = torch.stack([draw_tokens(tokens, 1, generator(seed))[0, 0] for seed in range(2000)])
    counts = torch.stack([(firsts == token).sum() for token in tokens[:, 0]])
    assert ((counts - 200).square() / 200).sum() < 27.9  # chi square of 9 degrees of freedom, p = 0.001


# Initialisation


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


def test_kmeans_far_from_the_origin():
    tokens, means = (1e-3 * part for part in clusters())  # a spread of 1e-3 around means that are 1 apart
    found = kmeans((tokens + 3000).float(), 8, 10, generator()).double() - 3000
    torch.testing.assert_close(found[found.argmax(1).argsort()], means, atol=1e-3, rtol=0)


def distortion(tokens, centres):
    return torch.cdist(tokens, centres).square().min(1).values.mean()


def test_kmeans_iterations_lower_the_distortion():
    tokens = randn(500, 4)
    errors = [distortion(tokens, kmeans(tokens, 12, steps, generator())) for steps in (0, 1, 5, 20)]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    uniform = torch.stack([distortion(tokens, draw_tokens(tokens, 12, generator(s))) for s in range(20)]).mean()
    plus = torch.stack([distortion(tokens, kmeans(tokens, 12, 0, generator(s))) for s in range(20)]).mean()
    assert plus < uniform
    seeds = kmeans(tokens, 12, 0, generator())
    assert (seeds.unsqueeze(1) == tokens).all(-1).sum() == len(seeds.unique(dim=0)) == 12


@pytest.mark.parametrize("iterations", [0, 10])
def test_kmeans_with_fewer_tokens_than_codes(iterations):
    tokens = randn(4, 3)
    codes = kmeans(tokens, 11, iterations, generator())
    assert distortion(tokens, codes) < 1e-20
    assert len(codes.unique(dim=0)) == 11
    assert distortion(codes, tokens) < 1e-3
    same = kmeans(torch.ones(4, 3), 2, iterations, generator())  # all tokens are equal
    assert torch.equal(same, torch.ones(2, 3))


def test_first_step_initialises_codes_from_tokens():
    tokens, means = clusters()
    book = Codebook(8, 8).double()
    assert book.codes.abs().max() <= 1 / 8 and not book.initialized  # as in the paper's code
    book.prepare(tokens, generator())
    assert book.initialized
    torch.testing.assert_close(book.codes[book.codes.argmax(1).argsort()], means)
    torch.testing.assert_close(book.counts, torch.full((8,), 30.0).double())
    step(book, tokens)
    torch.testing.assert_close(book.codes[book.codes.argmax(1).argsort()], means)  # a fixed point
    codes = book.codes.clone()
    book.prepare(tokens + 1000, generator())
    assert torch.equal(book.codes, codes)
