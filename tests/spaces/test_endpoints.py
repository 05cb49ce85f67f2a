"""The functions of a Space: what they answer, and what they say to wrong and hostile requests."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from cases import images
from PIL import Image

from gae_hub import BetaVAEConfig, BetaVAEModel, GAEImageProcessor
from gae_hub.spaces.endpoints import ENDPOINTS, Endpoints
from gae_hub.spaces.example_sets import ExampleSet
from gae_hub.spaces.explorer import Explorer
from gae_hub.spaces.uploads import MAX_UPLOAD_BYTES, read_upload

X = images(12)


@pytest.fixture(scope="module")
def endpoints():
    torch.manual_seed(0)
    model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3)).eval()
    return Endpoints(Explorer(model, GAEImageProcessor.for_model(model), {}, ExampleSet(X, "random")))


def pixels(uri):
    """The uint8 pixels of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def expected(endpoints, pixel_values):
    return [np.asarray(image) for image in endpoints.explorer.processor.postprocess(pixel_values)]


def test_images_are_those_of_the_model(endpoints):
    model = endpoints.explorer.model
    generated = model.generate(7, generator=torch.Generator().manual_seed(5))
    for uri, image in zip(endpoints.sample("prior", 5, 7)["images"], expected(endpoints, generated), strict=True):
        assert np.array_equal(pixels(uri), image)
    found = endpoints.reconstruct(3)
    assert np.array_equal(pixels(found["reconstruction"]), expected(endpoints, model.reconstruct(X[3:4]))[0])
    path = endpoints.interpolate(0, 1, 4)["images"]
    for uri, image in zip(path, expected(endpoints, model.interpolate(X[:1], X[1:2], 4)[0]), strict=True):
        assert np.array_equal(pixels(uri), image)
    assert endpoints.embed(2)["latents"] == model.embed(X[2:3])[0].tolist()


def test_latents_are_downloaded_exactly(endpoints):
    latents, _ = endpoints.explorer.draw_latents("prior", 1, 4)
    file = endpoints.sample_latents("prior", 1, 4, "npz")
    content = base64.b64decode(file["file"].partition(",")[2])
    assert np.array_equal(np.load(io.BytesIO(content))["latents"], latents.numpy())
    file = endpoints.sample_latents("prior", 1, 4, "csv")
    table = np.genfromtxt(io.BytesIO(base64.b64decode(file["file"].partition(",")[2])), delimiter=",", names=True)
    assert file["name"] == "latents-seed1.csv" and table.dtype.names == ("z0", "z1", "z2")
    assert np.array_equal(np.array(table.tolist(), dtype=np.float32), latents.numpy())
    assert endpoints.image_latents(0)["name"] == "latents.npz"
    assert endpoints.explored_latents([0.0])["name"] == "explored.npz"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sample", {"sampler": "prior", "seed": -1}, "seed must be an integer from 0 to 2,147,483,647, got -1"),
        ("sample", {"sampler": "prior", "seed": 0.5}, "seed must be an integer"),
        ("sample", {"sampler": "prior", "seed": True}, "seed must be an integer"),
        (
            "sample",
            {"sampler": "prior", "num_samples": 10**9},
            "num_samples must be an integer from 1 to 64",
        ),
        ("sample", {"sampler": "../../etc"}, "sampler must be one of prior, got the text"),
        ("sample", {"sampler": ["prior"]}, "sampler must be one of prior, got an object of type list"),
        ("vary", {"sampler": "prior", "index": 16}, "index must be an integer from 0 to 15, got 16"),
        ("vary", {"sampler": "prior", "distance": float("nan")}, "distance must be a number from 0 to 10, got nan"),
        ("explore", {"values": [float("nan")]}, r"values\[0\] must be a number from -1e\+06 to 1e\+06, got nan"),
        ("explore", {"values": [float("inf")]}, r"values\[0\] must be a number"),
        ("explore", {"values": [0.0] * 4}, "values must have at most 3 numbers, got 4"),
        ("explore", {"values": "0, 1"}, "values must be a list of numbers, got the text '0, 1'"),
        ("explore", {"values": [0.0], "example": 12}, "example must be an integer from 0 to 11, got 12"),
        ("traverse", {"values": [0.0], "axes": [1]}, "axes must be an integer from 0 to 0, got 1"),
        ("traverse", {"values": [0.0], "axes": 0}, "axes must be a list, got 0"),
        ("traverse", {"values": [0.0], "axes": [0] * 100}, "axes and num_steps must ask for 1 to 256 images"),
        ("decode_point", {"x": 1e300, "y": 0}, r"x must be a number from -1e\+06 to 1e\+06"),
        ("decode_point", {"x": None, "y": 0}, "x must be a number .*, got None"),
        ("interpolate", {"start": 0, "end": 99}, "end must be an integer from 0 to 11, got 99"),
        ("interpolate", {"start": 0, "end": 1, "num_steps": 1}, "num_steps must be an integer from 2 to 50, got 1"),
        ("interpolate", {"start": 0, "end": 1, "path": "curved"}, "path must be one of straight, model"),
        (
            "sample_latents",
            {"sampler": "prior", "format": "pkl"},
            "format must be one of npz, csv, got",
        ),
        ("reconstruct", {"image": None}, "expected an image as a data URI or an uploaded file, got None"),
        ("reconstruct", {"image": "/etc/passwd"}, "expected an image as a data URI, got text that is not base64"),
        ("reconstruct", {"image": {"path": "/etc/passwd"}}, "expected an image as a data URI or an uploaded file"),
        ("reconstruct", {"image": 0.5}, "image must be an integer from 0 to 11, got 0.5"),
    ],
)
def test_wrong_requests(endpoints, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(endpoints, name)(**arguments)


def test_every_function_is_documented(endpoints):
    assert set(endpoints.by_name()) == set(ENDPOINTS)
    assert all(function.__doc__ for function in endpoints.by_name().values())


# Uploads


def encode(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG file that claims a size, with almost no data: a decompression bomb."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


GREY = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8))
HOSTILE = {
    "bomb": (png_header(50_000, 50_000), "far more pixels than the 25 million that are accepted: reduce it"),
    "many pixels": (png_header(6_000, 6_000), "6,000 x 6,000 pixels, more than the 25 million that are accepted"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "this is not an image file of a known kind: expected PNG"),
    "text": (b"no image at all", "this is not an image file of a known kind"),
    "empty": (b"", "this is not an image file of a known kind"),
    "tiny": (encode(GREY.resize((1, 1))), "1 x 1 pixels: expected 4 or more on each edge"),
    "line": (encode(Image.new("L", (20_000, 1))), "20,000 x 1 pixels: expected 4 or more on each edge"),
    "strip": (encode(Image.new("L", (2_000, 10))), "at most 16 times the shorter one; crop it first"),
    "cut": (encode(NOISE)[:200], "this image cannot be read: "),
    "large": (b"\0" * (MAX_UPLOAD_BYTES + 10), "8.0 MB, more than the 8 MB that are accepted: make it smaller"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "not an image file of a known kind"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["data URI", "file"])
def test_hostile_uploads(endpoints, tmp_path, name, kind):
    content, message = HOSTILE[name]
    image = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    if kind == "file":
        (tmp_path / "image.png").write_bytes(content)
        image = {"path": str(tmp_path / "image.png")}
    with pytest.raises(ValueError, match=message):
        read_upload(image, endpoints.explorer.processor, tmp_path)


def test_the_whole_reason_is_shown():
    """Also if it has a colon."""

    class Processor:
        def preprocess(self, content):
            try:
                raise OSError("decoder error: chunk 3: too short")
            except OSError as error:
                raise ValueError(f"cannot read the image an object of type bytes: {error}") from error

    with pytest.raises(ValueError, match="^this image cannot be read: decoder error: chunk 3: too short$"):
        read_upload(base64.b64encode(encode(GREY)).decode(), Processor())


def exif(orientation):
    found = Image.Exif()
    found[274] = orientation
    return found


@pytest.mark.parametrize(
    ("content", "reference"),
    [
        (encode(GREY.convert("RGBA")), GREY),
        (encode(GREY.convert("CMYK"), "JPEG", quality=100), GREY.convert("CMYK").convert("RGB").convert("L")),
        (encode(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)), GREY),
        (encode(GREY.convert("P")), GREY),
        (encode(GREY.rotate(90), exif=exif(6)), GREY),
        (encode(GREY, "WEBP", lossless=True), GREY),
    ],
    ids=["RGBA", "CMYK", "16 bits", "palette", "EXIF rotation", "WebP"],
)
def test_unusual_images_are_read_as_the_library_reads_them(endpoints, content, reference):
    found = read_upload(base64.b64encode(content).decode(), endpoints.explorer.processor)
    wanted = endpoints.explorer.processor.preprocess(reference)["pixel_values"]
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


def test_only_uploaded_files_are_read(endpoints, tmp_path):
    """Not those beside the folder, and not through a link or `..`."""
    uploads, outside = tmp_path / "uploads", tmp_path / "outside.png"
    uploads.mkdir()
    outside.write_bytes(encode(GREY))
    (uploads / "link.png").symlink_to(outside)
    for path in (outside, uploads / "link.png", uploads / ".." / "outside.png", uploads / "missing.png", uploads):
        with pytest.raises(ValueError, match="this file was not uploaded here"):
            read_upload({"path": str(path)}, endpoints.explorer.processor, uploads)
