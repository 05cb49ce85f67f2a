r"""Convolutions of small images as matrix products, for CPUs.

Between a large image u, (batch, a, H, W), and a small image v, (batch, b, h, w), a kernel W, (b, a, kh, kw), defines
three bilinear maps, and the gradients of each map are the other two:

.. math::
    v = D(u, W), \quad u = U(v, W), \quad W = K(u, v)

D is the convolution and U the transposed convolution. Let the rows of C(u), (batch h w, kh kw a), be the windows of u,
one for each pixel of v. Then :math:`v = C(u) W^\top`, :math:`u = C^\top(v W)` and :math:`W = v^\top C(u)`.

With many channels and few pixels, copying the windows is cheap compared with these products, and libraries of matrix
products come close to the machine's limit. Rows of the kernel that lie in the padding are not multiplied.

Only the paper's ConvNet uses these layers: for the other networks torch's layers are as fast (benchmarks/README.md).
On GPUs, under torch.compile and where it is faster, the layers call torch's own code.
"""

__all__ = ["MatmulConv2d", "MatmulConvTranspose2d"]

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

Pair = tuple[int, ...]  # (vertical, horizontal)
LAST = torch.channels_last
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@dataclass(frozen=True)
class Windows:
    """Positions of a kernel's windows on an image. Pairs are (vertical, horizontal).

    Args:
        image: (H, W).
        count: (h, w), the number of windows.
        kernel, stride, padding: those of the convolution from u to v.
    """

    image: Pair
    count: Pair
    kernel: Pair
    stride: Pair
    padding: Pair

    def left_over(self) -> list[int]:
        """Pixels below and to the right of the last window: output_padding of the transposed convolution."""
        axes = zip(self.image, self.count, self.kernel, self.stride, self.padding, strict=True)
        return [size + 2 * p - (n - 1) * s - k for size, n, k, s, p in axes]

    def padded(self) -> list[int]:
        """Size of the image with the padding that the windows need."""
        axes = zip(self.image, self.count, self.kernel, self.stride, self.padding, strict=True)
        return [max(p + size, (n - 1) * s + k) for size, n, k, s, p in axes]

    def bands(self) -> list[tuple[slice, slice]]:
        """(rows of windows, rows of the kernel that see the image) for runs of windows with the same kernel rows."""
        tops = [i * self.stride[0] - self.padding[0] for i in range(self.count[0])]
        seen = [(max(0, -top), min(self.kernel[0], self.image[0] - top)) for top in tops]
        starts = [i for i in range(len(seen)) if not i or seen[i] != seen[i - 1]]
        bands = [(slice(*rows), slice(*seen[rows[0]])) for rows in zip(starts, [*starts[1:], len(seen)], strict=True)]
        return [(rows, kernel) for rows, kernel in bands if kernel.start < kernel.stop]

    def parts(self, padded: Tensor, height: int, width: int, y: int = 0, x: int = 0) -> Tensor:
        """(h, batch, w, height, width, a): a view of the part of each window that begins at (y, x)."""
        batch, row, column, channel = padded.stride()
        (h, w), (down, right) = self.count, self.stride
        shape = (h, len(padded), w, height, width, padded.shape[-1])
        return padded[:, y:, x:].as_strided(shape, (down * row, batch, right * column, row, column, channel))

    def cut(self, image: Tensor) -> Tensor:
        """C(u): (h, batch, w, kh, kw a), copies of the windows of an image (batch, a, H, W)."""
        (top, left), (height, width) = self.padding, self.padded()
        around = (0, 0, left, width - left - self.image[1], top, height - top - self.image[0])
        padded = F.pad(image.permute(0, 2, 3, 1), around).contiguous()
        return self.parts(padded, *self.kernel).contiguous().flatten(4)

    def lay(self, windows: Tensor, bias: Tensor | None) -> Tensor:
        """C^T: (batch, a, H, W), the sum of overlapping windows (h, batch, w, kh, kw a), plus a bias.

        Parts of the size of the stride do not overlap, so that few passes add all of them.
        """
        (top, left), (height, width) = self.padding, self.image
        windows = windows.unflatten(4, (self.kernel[1], -1))
        padded = windows.new_zeros(windows.shape[1], *self.padded(), windows.shape[-1])
        for y in range(0, self.kernel[0], self.stride[0]):
            for x in range(0, self.kernel[1], self.stride[1]):
                part = windows[:, :, :, y : y + self.stride[0], x : x + self.stride[1]]
                self.parts(padded, part.shape[3], part.shape[4], y, x).add_(part)
        image = padded[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
        return image.clone(memory_format=LAST) if bias is None else image + bias.view(-1, 1, 1)


def in_rows(small: Tensor) -> Tensor:
    """(batch, b, h, w) to the order of the windows: (h, batch, w, b)."""
    return small.permute(2, 0, 3, 1).contiguous()


def matrix(weight: Tensor) -> Tensor:
    """(b, a, kh, kw) to (b, kh, kw a): a view for channels_last weights."""
    return weight.permute(0, 2, 3, 1).flatten(2)


def down_product(at: Windows, windows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """D(u, W) from the windows of u: (batch, b, h, w)."""
    shape = (*windows.shape[:3], len(weight))
    small = (
        windows.new_zeros(shape) if bias is None else bias.expand(shape).clone(memory_format=torch.contiguous_format)
    )
    for rows, seen in at.bands():
        part = windows[rows].flatten(0, 2)[:, seen].flatten(1)
        small[rows].flatten(0, 2).addmm_(part, matrix(weight)[:, seen].flatten(1).T)
    return small.permute(1, 3, 0, 2).clone(memory_format=LAST)


def up_product(at: Windows, small: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """U(v, W) from v in rows: (batch, a, H, W). Parts of windows outside the image stay uninitialised and unread."""
    weight = matrix(weight)
    windows = small.new_empty(*small.shape[:3], *weight.shape[1:])
    for rows, seen in at.bands():
        part = windows[rows].flatten(0, 2)[:, seen].flatten(1)
        torch.mm(small[rows].flatten(0, 2), weight[:, seen].flatten(1), out=part)
    return at.lay(windows, bias)


def kernel_product(at: Windows, windows: Tensor, small: Tensor, weight: Tensor | None = None) -> Tensor:
    """K(u, v) from the windows of u and v in rows: (b, a, kh, kw), added to `weight` if it is given."""
    if weight is None:
        shape = (small.shape[-1], windows.shape[4] // at.kernel[1], *at.kernel)
        weight = torch.empty(shape, dtype=small.dtype, memory_format=LAST).zero_()
    for rows, seen in at.bands():
        part = windows[rows].flatten(0, 2)[:, seen].flatten(1)
        matrix(weight)[:, seen].flatten(1).addmm_(small[rows].flatten(0, 2).T, part)
    return weight


def match_layout(image: Tensor, other: Tensor) -> Tensor:
    """The image in the memory layout of the other tensor: torch would otherwise copy one of the two.

    A tensor with one channel has both layouts, and is returned as a view.
    """
    if other.stride(1) != 1 or other.shape[2:].numel() == 1:
        return image
    image = image.contiguous(memory_format=LAST)
    return image.view(len(image), *image.shape[2:], 1).permute(0, 3, 1, 2) if image.shape[1] == 1 else image


# Choice of the faster way, as measured for the paper's networks on two cores (python -m benchmarks.run convolutions)


def product_is_faster(at: Windows, channels: Pair, dtype: torch.dtype, of: Literal["down", "up", "kernel"]) -> bool:
    """Whether matrix products are the faster way for this map; channels are (a, b)."""
    if at.kernel == (1, 1):
        return False
    if min(channels) < 32:
        return of == "up" and channels[0] <= 4
    if of == "kernel":  # with more windows their copies would be large
        return prod(at.count) <= 64 and prod(channels) >= (2**13 if dtype == torch.bfloat16 else 2**16)
    return prod(channels) >= 2**16 and prod(at.count) <= 16


MAX_WINDOW_BYTES = 24 * 2**20  # windows copied at a time: larger copies leave the cache and cost page faults


def split_batch(at: Windows, channels: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors (batch, ...) into parts whose windows take at most `MAX_WINDOW_BYTES`."""
    each = prod(at.count) * prod(at.kernel) * channels * tensors[0].element_size()
    return zip(*(tensor.split(max(1, MAX_WINDOW_BYTES // each)) for tensor in tensors), strict=True)


def join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def down(at: Windows, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """D(u, W), with a bias: (batch, b, h, w)."""
    if product_is_faster(at, weight.shape[1::-1], image.dtype, "down"):
        parts = split_batch(at, image.shape[1], image)
        return join([down_product(at, at.cut(part), weight, bias) for (part,) in parts])
    return F.conv2d(match_layout(image, weight), weight, bias, at.stride, at.padding)


def up(at: Windows, small: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """U(v, W), with a bias: (batch, a, H, W)."""
    if product_is_faster(at, weight.shape[1::-1], small.dtype, "up"):
        parts = split_batch(at, weight.shape[1], small)
        return join([up_product(at, in_rows(part), weight, bias) for (part,) in parts])
    image = F.conv_transpose2d(small, weight, None, at.stride, at.padding, at.left_over())
    return image if bias is None else image.add_(bias.view(-1, 1, 1))  # oneDNN is far slower with a bias


def kernel(at: Windows, image: Tensor, small: Tensor) -> Tensor:
    """K(u, v): (b, a, kh, kw)."""
    channels = (image.shape[1], small.shape[1])
    if product_is_faster(at, channels, image.dtype, "kernel"):
        weight: Tensor | None = None
        for image_part, small_part in split_batch(at, channels[0], image, small):
            weight = kernel_product(at, at.cut(image_part), in_rows(small_part), weight)
        assert weight is not None  # a batch has an example
        return weight
    image, small = match_layout(image, small), match_layout(small, image)
    size = (*channels[::-1], *at.kernel)
    return conv2d_weight(image, size, small, at.stride, at.padding)  # pyright: ignore[reportArgumentType] (takes pairs)


class Convolution(torch.autograd.Function):
    """Base of D and U: they save images and weight for the gradients."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.at, *tensors, _ = inputs
        ctx.save_for_backward(*tensors)


class Down(Convolution):
    @staticmethod
    def forward(at: Windows, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return down(at, image, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        image, weight = ctx.saved_tensors
        _, for_image, for_weight, for_bias = ctx.needs_input_grad
        return (
            None,
            Up.apply(ctx.at, gradient, weight, None) if for_image else None,
            Kernel.apply(ctx.at, image, gradient) if for_weight else None,
            gradient.sum((0, 2, 3)) if for_bias else None,
        )


class Up(Convolution):
    @staticmethod
    def forward(at: Windows, small: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return up(at, small, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        small, weight = ctx.saved_tensors
        _, for_small, for_weight, for_bias = ctx.needs_input_grad
        for_bias = gradient.sum((0, 2, 3)) if for_bias else None
        channels, dtype = weight.shape[1::-1], weight.dtype
        products = all(product_is_faster(ctx.at, channels, dtype, of) for of in ("down", "kernel"))
        if products and for_small and for_weight and not torch.is_grad_enabled():  # both gradients share the windows
            found, for_weight = [], None
            for part, small_part in split_batch(ctx.at, channels[0], gradient, small):
                windows = ctx.at.cut(part)
                found.append(down_product(ctx.at, windows, weight))
                for_weight = kernel_product(ctx.at, windows, in_rows(small_part), for_weight)
            return None, join(found), for_weight, for_bias
        return (
            None,
            Down.apply(ctx.at, gradient, weight, None) if for_small else None,
            Kernel.apply(ctx.at, gradient, small) if for_weight else None,
            for_bias,
        )


class Kernel(torch.autograd.Function):
    @staticmethod
    def forward(at: Windows, image: Tensor, small: Tensor) -> Tensor:
        return kernel(at, image, small)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.at, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        image, small = ctx.saved_tensors
        _, for_image, for_small = ctx.needs_input_grad
        return (
            None,
            Up.apply(ctx.at, small, gradient, None) if for_image else None,
            Down.apply(ctx.at, image, gradient, None) if for_small else None,
        )


def apply_products(
    function: type[Convolution], layer: nn.Conv2d | nn.ConvTranspose2d, at: Windows, x: Tensor
) -> Tensor | None:
    """A layer's output if products are faster for one of its maps; None if torch's own layer should run."""
    tensors: list[Tensor | None] = [x, layer.weight, layer.bias]
    channels = layer.weight.shape[1::-1]
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        tensors = [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]
    dtype = tensors[0].dtype if tensors[0] is not None else x.dtype
    if any(t is not None and t.dtype != dtype for t in tensors) or dtype not in DTYPES:
        return None
    faster = any(product_is_faster(at, channels, dtype, of) for of in ("down", "up", "kernel"))
    return function.apply(at, *tensors) if faster or function is Up else None


def is_supported(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether the formulas of this file hold for the layer, on a CPU in eager mode."""
    usual = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    usual = usual and not isinstance(layer.padding, str)
    return usual and x.device.type == "cpu" and x.dim() == 4 and x.numel() > 0 and not torch.compiler.is_compiling()


class MatmulConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that multiplies matrices where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        if not is_supported(self, x):
            return super().forward(x)
        size = tuple(x.shape[2:])
        padding = cast(Pair, self.padding)  # is_supported excludes strings
        axes = zip(size, self.kernel_size, self.stride, padding, strict=True)
        count = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
        if min(count) < 1:  # torch raises
            return super().forward(x)
        output = apply_products(Down, self, Windows(size, count, self.kernel_size, self.stride, padding), x)
        return super().forward(match_layout(x, self.weight)) if output is None else output


class MatmulConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that multiplies matrices where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        if not is_supported(self, x):
            return super().forward(x)
        count = tuple(x.shape[2:])
        padding = cast(Pair, self.padding)
        axes = zip(count, self.kernel_size, self.stride, padding, self.output_padding, strict=True)
        size = tuple((n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in axes)
        output = apply_products(Up, self, Windows(size, count, self.kernel_size, self.stride, padding), x)
        return super().forward(x) if output is None else output
