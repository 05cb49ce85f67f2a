"""PixelCNN: causality, sampling place by place, probabilities, and the latents of a model's codes."""

from itertools import product

import pytest
import torch
from cases import ROWS, generator, images
from densities import noise

from gae_hub import AutoSampler, PixelCNNSampler


def fit_sampler(levels=1, num_classes=None, shape=(4, 5), k=6, dtype=torch.float64):
    """A sampler after one epoch on random codes, with these codes and their labels."""
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=3, kernel_size=3, num_classes=num_classes)
    codes = torch.randint(0, k, (30, *shape, levels), generator=generator())
    labels = None if num_classes is None else torch.arange(30) % num_classes
    books = noise(levels, k, 2, seed=1)
    sampler.fit(codes, books, class_labels=labels, num_train_epochs=1, progress=False)
    return sampler.to(dtype), codes, labels


def positions(shape):
    """The places of a map in raster order."""
    return list(product(*[range(size) for size in shape]))


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("shape", [(9,), (5, 4), (5, 3, 4)])
def test_receptive_field(shape, levels):
    """Each position depends on all positions before it, without a blind spot, and on no other.

    Tested by the derivatives of each position's logits with respect to each position's embedded input.
    """
    sampler, codes, _ = fit_sampler(levels, shape=shape)
    network = sampler.network
    inputs = network.embed_codes(codes[:1]).detach().requires_grad_()
    network.embed_codes = lambda codes: inputs
    logits = network(codes[:1])[0].double()
    places = positions(shape)
    for index, place in enumerate(places):
        (seen,) = torch.autograd.grad(logits[place].square().sum(), inputs, retain_graph=True)
        seen = seen[0].abs().sum(0).flatten() > 0
        assert not seen[index:].any()
        # three layers reach three places along each axis, and one more in the axis's own direction
        in_reach = torch.tensor([before[0] >= place[0] - 3 for before in places[:index]], dtype=torch.bool)
        assert seen[:index][in_reach].all()


@pytest.mark.parametrize(("levels", "num_classes"), [(1, None), (3, None), (1, 4)])
@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 2, 4)])
def test_sampling_equals_one_pass_per_position(shape, levels, num_classes):
    sampler, codes, labels = fit_sampler(levels, num_classes, shape)
    labels = None if labels is None else labels[:7]
    drawn = sampler.draw_codes(7, generator(2), class_labels=labels)
    uniform = torch.rand(drawn.shape, generator=generator(2), dtype=torch.float64)
    slow = torch.zeros_like(drawn)
    with torch.no_grad():
        for place in positions(shape):
            for level in range(levels):
                here = (slice(None), *place, level)
                p = sampler.network(slow, labels)[here].softmax(-1).cumsum(-1)
                slow[here] = (p < uniform[here].unsqueeze(-1) * p[:, -1:]).sum(-1)
    assert torch.equal(drawn, slow)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1), (1, 2, 1), (2, 1, 1)])
def test_probabilities_sum_to_one(shape):
    """Over all maps of codes; and samples have these probabilities."""
    sampler, *_ = fit_sampler(levels=2, shape=shape, k=3)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, *shape, 2)
    torch.testing.assert_close(sampler.code_log_prob(every).exp().sum().item(), 1.0)
    drawn = sampler.draw_codes(20_000, generator()).flatten(1)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    shares = index.bincount(minlength=81).double() / 20_000
    assert (shares - sampler.code_log_prob(every).exp()).abs().max() < 0.012


@pytest.mark.parametrize("shape", [(8,), (2, 4), (2, 2, 2)])
def test_probabilities_of_larger_maps_sum_to_one(shape):
    sampler, *_ = fit_sampler(shape=shape, k=2)
    every = torch.cartesian_prod(*[torch.arange(2)] * 8).view(-1, *shape)
    torch.testing.assert_close(sampler.code_log_prob(every).exp().sum().item(), 1.0)


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_an_axis_of_one_position_changes_nothing(shape):
    """A row of codes is a map of one row, and a map a volume of one plane, if the added stack passes nothing on."""
    narrow, codes, labels = fit_sampler(2, 3, shape)
    wide, *_ = fit_sampler(2, 3, (1, *shape))
    link = {1: "between", 2: "between_planes"}[len(shape)]
    weights, wide_weights = narrow.network.state_dict(), wide.network.state_dict()
    assert set(wide_weights) - set(weights) == {
        f"layers.{layer}.{name}.{kind}"
        for layer in range(3)
        for name in (link, "vertical" if len(shape) == 1 else "frontal")
        for kind in ("weight", "bias")
    }
    for name, weight in wide_weights.items():
        if name == "classes.weight":  # (classes, layers * stacks * 2 * hidden_size)
            sizes = (3, -1, 16)
            weight.view(3, 3, *sizes[1:])[:, :, 1:].copy_(weights[name].view(3, 3, *sizes[1:]))
        elif name in weights:
            weight.view_as(weights[name]).copy_(weights[name])
        elif link in name:
            weight.zero_()
    torch.testing.assert_close(wide.code_log_prob(codes.unsqueeze(1), labels), narrow.code_log_prob(codes, labels))
    drawn = wide.draw_codes(20, generator(), class_labels=1)
    assert torch.equal(drawn.squeeze(1), narrow.draw_codes(20, generator(), class_labels=1))


def test_names_of_the_weights_for_maps_of_images():
    """The names of saved samplers, which must stay as they are."""
    names = {name.split(".")[2] for name in fit_sampler()[0].network.state_dict() if name.startswith("layers.")}
    assert names == {"vertical", "horizontal", "between", "out"}


@pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
@pytest.mark.parametrize(
    ("network", "shape"), [("conv", (1, 8, 8)), ("mlp", (1, 8, 8)), ("conv", (2, 37)), ("resnet", (1, 7, 9, 6))]
)
def test_samples_are_latents_of_the_models_codes(name, network, shape, tmp_path):
    """For maps and single codes. The model decodes them without quantizing them again."""
    model = ROWS[name].build(input_shape=shape, encoder_config=network, decoder_config=network)
    model.train()(images(64, shape))
    model.eval()
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=1)
    sampler.fit_to(model, images(30, shape), images(8, shape), num_train_epochs=1, progress=False)
    drawn = sampler.sample(5, generator())
    assert drawn.shape == (5, *model.latent_shape)
    codes = sampler.draw_codes(5, generator())
    codes = codes if name == "hrq_vae" else codes[..., 0]
    codes = codes[:, 0, 0] if network == "mlp" else codes
    torch.testing.assert_close(drawn, model.lookup_codes(codes))
    torch.testing.assert_close(model.generate(5, sampler, generator()), model.decode_codes(codes))
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), drawn)


def test_failed_fit_leaves_it_unfitted():
    codes, books = torch.zeros(4, 2, 2, dtype=torch.long), torch.randn(5, 2)
    for bad in ({"codes": codes + 5}, {"codes": codes, "validation_codes": codes - 1}):
        sampler = PixelCNNSampler()
        with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\)"):
            sampler.fit(codebooks=books, **bad)
        assert sampler.config.to_dict() == PixelCNNSampler().config.to_dict()


def test_errors():
    books, codes = noise(5, 2), torch.zeros(4, 2, 2, dtype=torch.long)
    message = r"codes must be integers \(num\[, \*sizes\]\) with at most 3 sizes, got shape \(4, 1, 1, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        PixelCNNSampler().fit(codes[:, :1, :1, None, None], books)
    message = r"codes must be integers \(num\[, \*sizes\], levels\) with at most 3 sizes, got shape \(4,\)"
    with pytest.raises(ValueError, match=message):
        PixelCNNSampler().fit(codes[:, 0, 0], books[None])
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\), the indices of the codebook, got \[5, 5\]"):
        PixelCNNSampler().fit(codes + 5, books)
    with pytest.raises(ValueError, match=r"class_labels must be integers in \[0, 3\), got None"):
        PixelCNNSampler(num_classes=3).fit(codes, books)
    with pytest.raises(ValueError, match=r"class_labels must be integers in \[0, 3\), got 7"):
        PixelCNNSampler(num_classes=3).fit(codes, books, class_labels=torch.full((4,), 7))
    with pytest.raises(ValueError, match="fitted without class_labels"):
        fit_sampler()[0].draw_codes(2, class_labels=1)
    with pytest.raises(Exception, match="kernel_size must be odd, got 4"):
        PixelCNNSampler(kernel_size=4)
