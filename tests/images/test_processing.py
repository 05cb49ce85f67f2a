"""GAEImageProcessor, and the conversions between PIL images and arrays."""

from inspect import signature

import numpy as np
import pytest
import torch
from PIL import Image

from gae_hub import GAEImageProcessor
from gae_hub.images.processing import array_to_image


def picture(height=6, width=5, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_round_trip_is_exact(channels):
    image = Image.fromarray(picture(channels=channels))
    processor = GAEImageProcessor((channels, 6, 5))
    pixel_values = processor(image)["pixel_values"]
    assert pixel_values.shape == (1, channels, 6, 5) and pixel_values.dtype == torch.float32
    assert processor.postprocess(pixel_values)[0].tobytes() == image.tobytes()


def test_pil_images_arrays_and_tensors_give_equal_pixel_values():
    array = picture()
    expected = torch.from_numpy(array).permute(2, 0, 1)[None] / 255
    processor = GAEImageProcessor((3, 6, 5))
    inputs = [
        Image.fromarray(array),
        array,
        array.transpose(2, 0, 1),
        torch.from_numpy(array),
        expected,
        expected.numpy(),
    ]
    for one in inputs:
        torch.testing.assert_close(processor(one)["pixel_values"], expected)
    batch = processor(inputs)["pixel_values"]
    torch.testing.assert_close(batch, expected.expand(6, -1, -1, -1))
    assert processor(np.stack([array, array]))["pixel_values"].shape == (2, 3, 6, 5)
    assert isinstance(processor(array, return_tensors="np")["pixel_values"], np.ndarray)
    grey = GAEImageProcessor((1, 6, 5))
    assert grey(picture(channels=1))["pixel_values"].shape == (1, 1, 6, 5)


def test_pil_images_are_cropped_and_resized():
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255  # the middle third is white
    values = GAEImageProcessor((1, 5, 5))(Image.fromarray(wide))["pixel_values"]
    assert values.shape == (1, 1, 5, 5) and (values > 0.9).all()
    assert GAEImageProcessor((3, 8, 8))(Image.fromarray(wide))["pixel_values"].shape == (1, 3, 8, 8)


def test_array_to_image_clips_values():
    image = array_to_image(torch.tensor([[[-1.0, 0.5, 2.0]]]))
    assert list(image.tobytes()) == [0, 128, 255]


def test_save_and_load(tmp_path):
    GAEImageProcessor((3, 6, 5)).save_pretrained(tmp_path)
    assert GAEImageProcessor.from_pretrained(tmp_path).input_shape == (3, 6, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GAEImageProcessor((1, 6, 5))(np.zeros((7, 5), np.uint8)),
            r"shape \(7, 5\) does not match input_shape \(1, 6, 5\)",
        ),
        (lambda: GAEImageProcessor()("file.png"), "there is no image file 'file.png'"),
        (lambda: GAEImageProcessor()(b"text"), "cannot read the image .*: the bytes are not an image file"),
        (lambda: GAEImageProcessor()([]), "there are no images: got an empty list"),
        (lambda: GAEImageProcessor()(None), "expected a PIL image, a path, an array or a tensor, got None"),
        (
            lambda: GAEImageProcessor()([["a"]]),
            "expected an array of numbers for an image, got an object of type list",
        ),
        (
            lambda: GAEImageProcessor()(np.zeros((0, 28, 28))),
            r"there are no images: got an array of shape \(0, 28, 28\)",
        ),
        (lambda: GAEImageProcessor()(picture(28, 28, 1), do_rescale=False), "accepts no option 'do_rescale'"),
        (lambda: GAEImageProcessor(backgroud="red"), "has no setting 'backgroud'; did you mean 'background'?"),
        (
            lambda: GAEImageProcessor(do_resize=True),
            "no setting 'do_resize'; its settings are input_shape",
        ),
        (
            lambda: GAEImageProcessor()(picture(28, 28, 1), return_tensors="tf"),
            "must be 'pt' or 'np', got the text 'tf'",
        ),
        (lambda: GAEImageProcessor().postprocess(torch.rand(1, 28, 28)), r"for one image pass images\[None\]"),
        (
            lambda: GAEImageProcessor().postprocess(np.zeros((1, 1, 2, 2))),
            "expected a tensor .*, got an object of type ndarray",
        ),
        (lambda: GAEImageProcessor((1, 2, 2))(torch.full((2, 2), torch.nan)), "must be finite, got 4 values"),
        (lambda: GAEImageProcessor((5,)).postprocess(torch.rand(1, 5)), r"input_shape \(5,\) is not an image shape"),
        (lambda: array_to_image(torch.rand(2, 4, 4)), r"got shape \(2, 4, 4\)"),
        (lambda: GAEImageProcessor((1, 2, 2), layout="hwc"), "layout must be one of channels_first, .*'hwc'"),
        (
            lambda: GAEImageProcessor((1, 2, 2), normalization={"kind": "unit"}),
            "must be a dict of kind, shift and scale",
        ),
        (
            lambda: GAEImageProcessor((3, 2, 2), normalization={"kind": "unit", "shift": [0], "scale": [1]}),
            "has 1 shifts, but input_shape .* has 3",
        ),
        (lambda: GAEImageProcessor((3,), column_names=["a", "b"]), "column_names must be a list of one name for each"),
        (lambda: GAEImageProcessor((3,), data=[1]), "data must be a dict of options, got an object of type list"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_declared_settings_are_the_arguments():
    """`valid_kwargs` is what transformers lets `from_pretrained` replace."""
    arguments = [name for name in signature(GAEImageProcessor.__init__).parameters if name not in ("self", "kwargs")]
    assert sorted(GAEImageProcessor.valid_kwargs.__annotations__) == sorted(arguments)
