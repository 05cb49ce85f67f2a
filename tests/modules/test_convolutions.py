"""Convolutions by matrix products equal torch's: values, gradients, second gradients, layouts and dtypes."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.functional import vjp

from gae_hub.modules import convolutions
from gae_hub.modules.convolutions import Down, Kernel, MatmulConv2d, MatmulConvTranspose2d, Up, Windows

# image, kernel, stride, padding: odd sizes, left-over pixels, gaps between windows, rows entirely in the padding
GEOMETRIES = [
    ((7, 9), (4, 4), (2, 2), (1, 1)),
    ((3, 3), (4, 4), (2, 2), (1, 1)),
    ((8, 5), (3, 3), (2, 2), (1, 1)),
    ((6, 7), (3, 2), (1, 3), (0, 1)),
    ((5, 5), (5, 5), (2, 2), (2, 2)),
    ((4, 6), (3, 3), (1, 1), (1, 1)),
    ((9, 4), (1, 2), (3, 2), (0, 0)),
    ((4, 4), (3, 3), (1, 1), (2, 2)),
    ((2, 2), (2, 2), (3, 3), (2, 2)),
]


@pytest.fixture(params=["products", "in parts", "torch"])
def products(request, monkeypatch):
    """Compute the maps by products, by products of one example at a time, or by torch: results must agree."""
    monkeypatch.setattr(convolutions, "product_is_faster", lambda *args: request.param != "torch")
    if request.param == "in parts":
        monkeypatch.setattr(convolutions, "MAX_WINDOW_BYTES", 1)
    return request.param != "torch"


def windows(image, kernel, stride, padding) -> Windows:
    count = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(image, kernel, stride, padding, strict=True)]
    return Windows(image, tuple(count), kernel, stride, padding)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("channels", [(4, 5), (1, 5), (4, 1)], ids=str)
def test_the_three_maps_equal_torch(geometry, last, channels, products):
    at, (image, kernel, stride, padding), (a, b) = windows(*geometry), geometry, channels
    layout = torch.channels_last if last else torch.contiguous_format
    u = torch.randn(3, a, *image, dtype=torch.float64).to(memory_format=layout)
    w = torch.randn(b, a, *kernel, dtype=torch.float64).to(memory_format=layout)
    v = torch.randn(3, b, *at.count, dtype=torch.float64).to(memory_format=layout)
    for_small, for_large = torch.randn(b, dtype=torch.float64), torch.randn(a, dtype=torch.float64)
    torch.testing.assert_close(Down.apply(at, u, w, for_small), F.conv2d(u, w, for_small, stride, padding))
    expected = F.conv_transpose2d(v, w, for_large, stride, padding, at.left_over())
    torch.testing.assert_close(Up.apply(at, v, w, for_large), expected)
    expected = vjp(lambda w: F.conv2d(u, w, None, stride, padding), w, v)[1]
    torch.testing.assert_close(Kernel.apply(at, u, v), expected)


@pytest.mark.parametrize("geometry", GEOMETRIES[:5], ids=str)
def test_first_and_second_gradients(geometry, products):
    at = windows(*geometry)
    u, v, w, b, c = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((1, 2, *at.image), (1, 3, *at.count), (3, 2, *at.kernel), (3,), (2,))
    )
    for function, inputs in ((Down, (u, w, b)), (Up, (v, w, c)), (Kernel, (u, v))):
        assert torch.autograd.gradcheck(lambda *x, f=function: f.apply(at, *x), inputs)
        assert torch.autograd.gradgradcheck(lambda *x, f=function: f.apply(at, *x), inputs, fast_mode=True)


def pairs(in_channels: int, out_channels: int):
    """Pairs of a torch layer and our layer with the same weights."""
    for (theirs, ours), kernel, stride in product(
        ((nn.Conv2d, MatmulConv2d), (nn.ConvTranspose2d, MatmulConvTranspose2d)), (3, 4), (1, 2)
    ):
        layer, own = (
            theirs(in_channels, out_channels, kernel, stride, 1),
            ours(in_channels, out_channels, kernel, stride, 1),
        )
        assert own.load_state_dict(layer.state_dict())
        yield layer, own


def run(layer, x, **autocast):
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", **autocast):
        y = layer(x)
    gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
    return [y.detach(), *gradients]


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
def test_layers_with_many_channels_equal_torch(last, products):
    for layer, own in pairs(48, 40):
        x = torch.randn(6, 48, 5, 5)
        if last:
            layer, own, x = (t.to(memory_format=torch.channels_last) for t in (layer, own, x))
        for found, expected in zip(run(own, x, enabled=False), run(layer, x, enabled=False), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_half_precision_is_as_accurate_as_torch(products):
    for layer, own in pairs(48, 40):
        x = torch.randn(6, 48, 5, 5)
        truth = run(layer, x, enabled=False)
        ours, theirs = (run(module, x, dtype=torch.bfloat16) for module in (own, layer))
        for found, expected, exact in zip(ours, theirs, truth, strict=True):
            assert found.dtype == expected.dtype
            scale = exact.square().mean().sqrt()
            assert (found - exact).square().mean().sqrt() < 0.004 * scale + 1.5 * (
                expected - exact
            ).square().mean().sqrt()


def test_products_are_chosen_for_wide_layers_of_small_images(monkeypatch):
    chosen = []
    for name in ("down_product", "up_product", "kernel_product"):
        original = getattr(convolutions, name)
        monkeypatch.setattr(convolutions, name, lambda *a, f=original, n=name: chosen.append(n) or f(*a))
    MatmulConv2d(256, 256, 4, 2, 1)(torch.randn(2, 256, 8, 8, requires_grad=True)).sum().backward()
    MatmulConvTranspose2d(256, 256, 4, 2, 1)(torch.randn(2, 256, 4, 4, requires_grad=True)).sum().backward()
    MatmulConv2d(3, 64, 4, 2, 1)(torch.randn(2, 3, 64, 64)).sum().backward()
    MatmulConv2d(256, 256, 4, 2, 1)(torch.randn(2, 256, 32, 32)).sum().backward()
    assert chosen == ["down_product", "up_product", "kernel_product", "up_product", "down_product", "kernel_product"]


@pytest.mark.parametrize("options", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}, {"padding": "same"}])
def test_unsupported_options_use_torch(options):
    options = {"stride": 1, "padding": 1, **options}
    layer, own = nn.Conv2d(256, 256, 3, **options), MatmulConv2d(256, 256, 3, **options)
    own.load_state_dict(layer.state_dict())
    x = torch.randn(2, 256, 4, 4)
    torch.testing.assert_close(own(x), layer(x))


def test_unbatched_image_and_empty_batch():
    own = MatmulConv2d(256, 256, 3, padding=1)
    x = torch.randn(2, 256, 4, 4)
    torch.testing.assert_close(own(x[0]), own(x)[0], rtol=1e-4, atol=1e-4)
    assert own(x[:0]).shape == (0, 256, 4, 4)


def test_frozen_and_shared_weight():
    own = MatmulConv2d(256, 256, 3, padding=1)
    x = torch.randn(2, 256, 4, 4, requires_grad=True)
    own.weight.requires_grad_(False)
    own(own(x)).sum().backward()
    assert own.weight.grad is None and own.bias.grad is not None and x.grad is not None


def test_single_window_does_not_change_its_inputs(products):
    own, x = MatmulConv2d(48, 40, 4, 2, 1), torch.randn(1, 48, 3, 3)
    before = own.bias.detach().clone()
    torch.testing.assert_close(own(x), F.conv2d(x, own.weight, before, 2, 1))
    assert torch.equal(own.bias, before)


def test_outputs_can_be_changed_in_place(products):
    for layer in (MatmulConv2d(48, 48, 4, 2, 1), MatmulConvTranspose2d(48, 48, 4, 2, 1)):
        x = torch.randn(2, 48, 4, 4, requires_grad=True)
        layer(x).relu_().sum().backward()
        expected = torch.autograd.grad(layer(x).relu().sum(), x)[0]
        torch.testing.assert_close(x.grad, expected)


def test_image_smaller_than_the_kernel_raises(products):
    with pytest.raises(RuntimeError, match="size"):
        MatmulConv2d(256, 256, 4)(torch.randn(2, 256, 3, 3))


def test_one_channel_is_viewed_in_the_layout_of_its_partner():
    """Without a copy: torch would copy the partner, which has many channels."""
    last = torch.randn(2, 8, 3, 3).to(memory_format=torch.channels_last)
    one, three = torch.randn(2, 1, 6, 6), torch.randn(2, 3, 6, 6)
    view = convolutions.match_layout(one, last)
    assert view.data_ptr() == one.data_ptr() and torch.equal(view, one) and view.stride() == (36, 1, 6, 1)
    assert convolutions.match_layout(three, last).is_contiguous(memory_format=torch.channels_last)
    assert convolutions.match_layout(one[:, :, ::2], last).stride() == (18, 1, 6, 1)
    for image in (one, three):
        assert convolutions.match_layout(image, last.contiguous()) is image
        assert convolutions.match_layout(image, last[:, :, :1, :1].contiguous()) is image  # one pixel has both layouts


def test_torch_receives_both_tensors_in_one_layout(monkeypatch):
    """For the kernel gradient of a first layer, which torch computes."""
    asked = []

    def weight(image, size, small, *rest):
        asked.append((image.stride(1), small.stride(1)))
        return small.new_zeros(size)

    monkeypatch.setattr(convolutions, "conv2d_weight", weight)
    layer = MatmulConv2d(1, 64, 4, 2, 1).to(memory_format=torch.channels_last)
    monkeypatch.setattr(convolutions, "product_is_faster", lambda at, channels, dtype, of: of == "down")
    layer(torch.rand(2, 1, 8, 8)).square().sum().backward()
    assert asked == [(1, 1)]


def test_compiles_to_one_graph():
    for own in (MatmulConv2d(256, 256, 4, 2, 1), MatmulConvTranspose2d(256, 256, 4, 2, 1)):
        x = torch.randn(2, 256, 4, 4)
        compiled = torch.compile(own, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), own(x), rtol=1e-4, atol=1e-4)
