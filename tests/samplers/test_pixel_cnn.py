"""PixelCNN: causality, sampling place by place, probabilities, and the latents of a model's codes."""

import pytest
import torch
from cases import ROWS, generator, images
from densities import noise

from gae_hub import PixelCNNSampler


def fit_sampler(levels=1, num_classes=None, shape=(4, 5), k=6, dtype=torch.float64):
    """A sampler after one epoch on random codes, with these codes and their labels."""
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=3, kernel_size=3, num_classes=num_classes)
    codes = torch.randint(0, k, (30, *shape, levels), generator=generator())
    labels = None if num_classes is None else torch.arange(30) % num_classes
    books = noise(levels, k, 2, seed=1)
    sampler.fit(codes, books, labels=labels, num_train_epochs=1, progress=False)
    return sampler.to(dtype), codes, labels


@pytest.mark.parametrize("levels", [1, 2])
def test_receptive_field(levels):
    """Each position depends on all positions before it, without a blind spot, and on no other.

    Tested by the derivatives of each position's logits with respect to each position's embedded input.
    """
    sampler, codes, _ = fit_sampler(levels, shape=(5, 4))
    height, width = codes.shape[1:3]
    network = sampler.network
    inputs = network.embed_codes(codes[:1]).detach().requires_grad_()
    network.embed_codes = lambda codes: inputs
    logits = network(codes[:1])[0].double()
    for row in range(height):
        for column in range(width):
            (seen,) = torch.autograd.grad(logits[row, column].square().sum(), inputs, retain_graph=True)
            seen = seen[0].abs().sum(0).flatten() > 0
            position = row * width + column
            assert not seen[position:].any()
            if position:
                in_reach = torch.tensor([r >= row - 3 for r in range(height) for _ in range(width)])[:position]
                assert seen[:position][in_reach].all()  # three layers reach three rows up and three columns aside


@pytest.mark.parametrize(("levels", "num_classes"), [(1, None), (3, None), (1, 4)])
def test_sampling_equals_one_pass_per_position(levels, num_classes):
    sampler, codes, labels = fit_sampler(levels, num_classes)
    labels = None if labels is None else labels[:7]
    drawn = sampler.draw_codes(7, generator(2), labels=labels)
    uniform = torch.rand(drawn.shape, generator=generator(2), dtype=torch.float64)
    slow = torch.zeros_like(drawn)
    with torch.no_grad():
        for row in range(4):
            for column in range(5):
                for level in range(levels):
                    p = sampler.network(slow, labels)[:, row, column, level].softmax(-1).cumsum(-1)
                    slow[:, row, column, level] = (p < uniform[:, row, column, level, None] * p[:, -1:]).sum(-1)
    assert torch.equal(drawn, slow)


def test_probabilities_sum_to_one():
    """Over all maps of codes; and samples have these probabilities."""
    sampler, *_ = fit_sampler(levels=2, shape=(1, 2), k=3)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 1, 2, 2)
    torch.testing.assert_close(sampler.code_log_prob(every).exp().sum().item(), 1.0)
    drawn = sampler.draw_codes(20_000, generator()).flatten(1)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    shares = index.bincount(minlength=81).double() / 20_000
    assert (shares - sampler.code_log_prob(every).exp()).abs().max() < 0.012


def test_learns_dependencies_and_classes():
    """Each map is one row of codes c, c + 1, c + 2 (mod 5): the first determines the others."""
    first = torch.randint(0, 5, (400, 1, 1), generator=generator())
    codes = (first + torch.arange(3)) % 5
    labels = (first.flatten() < 2).long()
    sampler = PixelCNNSampler(hidden_size=16, num_hidden_layers=2, kernel_size=3, num_classes=2)
    sampler.fit(codes, noise(5, 2), labels=labels, num_train_epochs=25, learning_rate=1e-2, progress=False)
    drawn = sampler.draw_codes(500, generator())[:, 0, :, 0]
    assert ((drawn - drawn[:, :1]) % 5 == torch.arange(3)).all(1).float().mean() > 0.95
    of_class = sampler.draw_codes(300, generator(), labels=1)[:, 0, 0, 0]
    assert (of_class < 2).float().mean() > 0.97
    for label, count in {0: 3, 1: 2}.items():
        own = codes[labels == label]
        entropy = -sampler.code_log_prob(own, torch.full((len(own),), label)).mean()
        assert abs(entropy - torch.tensor(float(count)).log()) < 0.12
    latents = sampler.sample(4, generator(), labels=torch.tensor([0, 1, 0, 1]))
    assert latents.shape == (4, 2, 1, 3)


@pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_samples_are_latents_of_the_models_codes(name, network):
    """For maps and single codes. The model decodes them without quantizing them again."""
    model = ROWS[name].build(encoder_config=network, decoder_config=network)
    model.train()(images(64))
    model.eval()
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=1)
    sampler.fit_to(model, images(30), images(8), num_train_epochs=1, progress=False)
    drawn = sampler.sample(5, generator())
    assert drawn.shape == (5, *model.latent_shape)
    codes = sampler.draw_codes(5, generator())
    codes = codes if name == "hrq_vae" else codes[..., 0]
    codes = codes if network == "conv" else codes[:, 0, 0]
    torch.testing.assert_close(drawn, model.lookup_codes(codes))
    torch.testing.assert_close(model.generate(5, sampler, generator()), model.decode_codes(codes))


def test_failed_fit_leaves_it_unfitted():
    codes, books = torch.zeros(4, 2, 2, dtype=torch.long), torch.randn(5, 2)
    for bad in ({"codes": codes + 5}, {"codes": codes, "validation_codes": codes - 1}):
        sampler = PixelCNNSampler()
        with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\)"):
            sampler.fit(codebooks=books, **bad)
        assert sampler.config.to_dict() == PixelCNNSampler().config.to_dict()


def test_errors():
    books, codes = noise(5, 2), torch.zeros(4, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"codes must be integers \(num\[, height, width\]\), got shape \(4, 2\)"):
        PixelCNNSampler().fit(codes[:, 0], books)
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\), the indices of the codebook, got \[5, 5\]"):
        PixelCNNSampler().fit(codes + 5, books)
    with pytest.raises(ValueError, match="num_classes is 3, which needs labels, got None"):
        PixelCNNSampler(num_classes=3).fit(codes, books)
    with pytest.raises(ValueError, match=r"labels must be integers in \[0, 3\), got \[7\]"):
        PixelCNNSampler(num_classes=3).fit(codes, books, labels=torch.full((4,), 7))
    with pytest.raises(ValueError, match="fitted without labels"):
        fit_sampler()[0].draw_codes(2, labels=1)
    with pytest.raises(Exception, match="kernel_size must be odd, got 4"):
        PixelCNNSampler(kernel_size=4)
