"""Each task returns what the model's method returns, for every method, kind of data and kind of input."""

import io
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from cases import AE, CODES, MODELS, ROWS, VAE, generator
from PIL import Image
from transformers.pipelines.base import Pipeline
from transformers.pipelines.pt_utils import KeyDataset

from gae_hub import (
    FeatureExtractionPipeline,
    GAEImageProcessor,
    GaussianMixtureSampler,
    GenerationPipeline,
    InterpolationPipeline,
    Normalization,
    ReconstructionPipeline,
    TraversalPipeline,
    load_data,
)

EACH = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
SHAPES = {
    "grey": (1, 8, 8),
    "colour": (3, 8, 8),
    "vectors": (5,),
    "signals": (2, 6),
    "volumes": (1, 2, 3, 4),
}
NORMALIZED = {
    "vectors": Normalization("standardize", (10, -5, 0, 1, 2), (2, 4, 0.1, 1, 1)),
    "signals": Normalization("unit", (100, -1), (50, 2)),
}


def pictures(num=3, size=(8, 8), channels=1, seed=0):
    """PIL images of random pixels."""
    shape = (num, *size) if channels == 1 else (num, *size, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def to_bytes(images):
    """Pixels of nested lists of PIL images."""
    return [to_bytes(image) for image in images] if isinstance(images, list) else images.tobytes()


@pytest.fixture(scope="module")
def processor():
    return GAEImageProcessor((1, 8, 8))


@pytest.fixture
def reconstruct():
    return ReconstructionPipeline(VAE.build())


# The model's methods


@EACH
def test_embedding(case, processor):
    model, images = case.build(), pictures()
    extract = FeatureExtractionPipeline(model)
    expected = model.embed(processor(images)["pixel_values"])
    found = torch.cat(extract(images, batch_size=3, return_tensors=True))
    assert torch.equal(found, expected)
    one = model.embed(processor(images[0])["pixel_values"])
    assert extract(images[0]) == one.tolist() and torch.equal(extract(images[0], return_tensors=True), one)


@EACH
def test_reconstruction(case, processor):
    model, images = case.build(), pictures()
    found = ReconstructionPipeline(model)(images, batch_size=3)
    expected = processor.postprocess(model.reconstruct(processor(images)["pixel_values"]))
    assert to_bytes(found) == to_bytes(expected)


@EACH
def test_interpolation(case, processor):
    """Along the geodesic of each model's latent space."""
    model, images = case.build(), pictures(4)
    interpolate = InterpolationPipeline(model)
    values = processor(images)["pixel_values"]
    paths = model.interpolate(values[:2], values[2:], num_steps=5)
    expected = [to_bytes(processor.postprocess(path)) for path in paths]
    pairs = [(images[0], images[2]), (images[1], images[3])]
    assert to_bytes(interpolate(pairs, num_steps=5, batch_size=2)) == expected
    one = model.interpolate(values[:1], values[2:3], num_steps=5)[0]
    assert to_bytes(interpolate(pairs[0], num_steps=5)) == to_bytes(processor.postprocess(one))
    assert len(interpolate(pairs[0])) == 10


@EACH
def test_generation(case, processor):
    model = case.build()
    if case.id == "rhvae":
        model.train()(torch.rand(30, 1, 8, 8))
    sampler = None if case.has_prior else GaussianMixtureSampler(num_components=1).fit(torch.randn(20, 3))
    pipe = GenerationPipeline(model, sampler)
    expected = to_bytes(processor.postprocess(model.generate(7, sampler=sampler, generator=generator(3))))
    assert to_bytes(pipe(num_samples=7, seed=3)) == to_bytes(pipe(num_images=7, seed=3, batch_size=2)) == expected


@pytest.mark.parametrize("kind", SHAPES)
def test_kinds_of_data(kind):
    """Images are returned as PIL images, other data as arrays in their units."""
    shape = SHAPES[kind]
    model, processor = VAE.build(input_shape=shape), GAEImageProcessor(shape, normalization=NORMALIZED.get(kind))
    values = torch.rand(4, *shape, generator=generator())
    data = processor.restore(values).numpy()  # in the units of the data
    values = processor(data)["pixel_values"]

    def check(found, expected):
        if kind in ("grey", "colour"):
            assert to_bytes(found) == to_bytes(processor.postprocess(expected))
        else:
            assert isinstance(found, np.ndarray) and np.array_equal(found, processor.restore(expected).numpy())

    check(ReconstructionPipeline(model, processor)(data, batch_size=4), model.reconstruct(values))
    pair = model.interpolate(values[:1], values[1:2], 3)[0]
    check(InterpolationPipeline(model, processor)((data[0], data[1]), num_steps=3), pair)
    found = InterpolationPipeline(model, processor)((data[:2], data[2:]), num_steps=3, batch_size=2)
    paths = model.interpolate(values[:2], values[2:], 3)
    for path, expected in zip(found, paths, strict=True):
        check(path, expected)
    check(GenerationPipeline(model, processor=processor)(5, seed=0), model.generate(5, generator=generator()))
    found = FeatureExtractionPipeline(model, processor)(data, batch_size=4, return_tensors=True)
    assert torch.equal(torch.cat(found), model.embed(values))
    strips = TraversalPipeline(model, processor=processor)(data[0], dimensions=[1], num_steps=3)
    moved = model.embed(values[:1]).repeat(3, 1)
    moved[:, 1] = torch.tensor([-2.0, 0.0, 2.0])
    check(strips[0], model.eval().decode(moved).detach())


# Traversals


@EACH
def test_traversal(case, processor):
    """One dimension takes values, others keep theirs, except on a sphere, on which all points stay."""
    model, image = case.build(), pictures(1)[0]
    if isinstance(model, type(CODES.build())) or case.id == "hrq_vae":
        with pytest.raises(NotImplementedError, match=f"{type(model).__name__} has code vectors as latents"):
            TraversalPipeline(model)(image)
        return
    sampler = None if case.has_prior else GaussianMixtureSampler(num_components=1).fit(torch.randn(20, 3))
    traverse = TraversalPipeline(model, sampler)
    strips = traverse(image, dimensions=[2, 0], num_steps=5, num_std=1.5)
    assert [len(strip) for strip in strips] == [5, 5] and isinstance(strips[0][0], Image.Image)
    latents = model.embed(processor(image)["pixel_values"])
    values = torch.linspace(-1, 1, 4).repeat(2, 1)
    paths = model.traverse_latents(latents, torch.tensor([2, 0]), values)
    assert torch.equal(paths[0, 0, :, 2], values[0]) and torch.equal(paths[0, 1, :, 0], values[1])
    if case.id == "svae":
        torch.testing.assert_close(paths.norm(dim=-1), torch.ones(1, 2, 4))
        torch.testing.assert_close(paths[0, 0, 1, 0] / paths[0, 0, 1, 1], latents[0, 0] / latents[0, 1])
    else:
        assert (paths[0, 0, :, :2] == latents[0, :2]).all() and (paths[0, 1, :, 1:] == latents[0, 1:]).all()
    images = model.traverse(latents, torch.tensor([2, 0]), values)
    torch.testing.assert_close(images[0, 1, 3], model.eval().decode(paths[:, 1, 3])[0].detach())


def test_range_of_a_traversal(monkeypatch):
    """It is in standard deviations: of N(0, I) exactly, of other priors from draws, at most the poles of a sphere."""
    found = []
    for model in (VAE.build(), ROWS["svae"].build(), ROWS["poincare_vae"].build(prior_scale=0.5)):
        monkeypatch.setattr(model, "traverse", lambda latents, index, values: found.append(values) or values)
        TraversalPipeline(model).compute(None, num_std=2.0, num_steps=3)
    assert torch.equal(found[0], torch.tensor([[-2.0, 0.0, 2.0]] * 3))
    torch.testing.assert_close(found[1][:, 2] - found[1][:, 0], torch.full((3,), 4 / 3**0.5), rtol=0.05, atol=0)
    torch.testing.assert_close(found[2][:, 2] - found[2][:, 0], torch.full((3,), 2.0), rtol=0.05, atol=0)
    svae = ROWS["svae"].build()
    paths = svae.traverse_latents(svae.sample_prior(1), torch.tensor([1]), torch.tensor([[-3.0, 0.0, 3.0]]))
    torch.testing.assert_close(paths[0, 0, [0, 2]], torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
    pole = svae.traverse_latents(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([1]), torch.tensor([[0.5]]))
    torch.testing.assert_close(pole.norm(), torch.tensor(1.0))


def test_traversal_without_an_input_starts_from_a_draw():
    model = VAE.build()
    traverse = TraversalPipeline(model)
    strips = traverse(seed=4, dimensions=1, num_steps=3)
    latents = model.sample_prior(1, generator(4)).repeat(3, 1)
    latents[:, 1] = torch.tensor([-2.0, 0.0, 2.0])
    expected = GAEImageProcessor((1, 8, 8)).postprocess(model.eval().decode(latents).detach())
    assert to_bytes(strips) == [to_bytes(expected)]
    assert to_bytes(traverse()) != to_bytes(traverse())
    assert len(traverse(seed=0)) == 3


def test_the_range_of_a_traversal_is_estimated_once_in_a_call(monkeypatch):
    """Not for each batch: some samplers take minutes for so many draws. A sampler that is fitted again counts anew."""
    model, sampler = VAE.build(), GaussianMixtureSampler(num_components=1).fit(torch.randn(20, 3))
    drawn, sample = [], type(sampler).sample

    def count(self, num, generator=None):
        drawn.append(num)
        return sample(self, num, generator)

    monkeypatch.setattr(type(sampler), "sample", count)
    traverse = TraversalPipeline(model, sampler)
    first = traverse(pictures(3), num_steps=2)
    assert drawn == [4096]
    sampler.fit(5 * torch.randn(20, 3))
    assert to_bytes(traverse(pictures(3), num_steps=2)[0]) != to_bytes(first[0]) and drawn == [4096, 4096]


def test_errors_of_a_traversal():
    traverse, image = TraversalPipeline(VAE.build()), pictures(1)[0]
    for options, message in (
        ({"dimensions": [3]}, r"dimensions must be integers from 0 to 2, got \[3\]"),
        ({"dimensions": []}, r"dimensions must be integers from 0 to 2, got \[\]"),
        ({"num_steps": 1}, "num_steps must be 2 or more, got 1"),
        ({"num_std": 0}, "num_std must be a number above 0, got 0"),
        ({"num_std": torch.inf}, "num_std must be a number above 0, got inf"),
        ({"seed": 0}, "seed is for a draw, but there is an input"),
    ):
        with pytest.raises(ValueError, match=message):
            traverse(image, **options)
    with pytest.raises(NotImplementedError, match="AEModel has no prior, whose standard deviations are the range"):
        TraversalPipeline(AE.build())(image)


# Inputs


@pytest.fixture(scope="module")
def server():
    """The address of a server with a PNG file at /digit.png, and text at /page."""
    buffer = io.BytesIO()
    pictures(1)[0].save(buffer, "PNG")
    files = {"/digit.png": buffer.getvalue(), "/page": b"no image"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_kinds_of_inputs_give_the_same_pixels(reconstruct, tmp_path, server):
    (image,) = pictures(1)
    image.save(tmp_path / "digit.png")
    pixels = np.asarray(image)
    expected = reconstruct(image).tobytes()
    inputs = {
        "path": tmp_path / "digit.png",
        "text": str(tmp_path / "digit.png"),
        "url": f"{server}/digit.png",
        "bytes": (tmp_path / "digit.png").read_bytes(),
        "cell": {"bytes": (tmp_path / "digit.png").read_bytes(), "path": None},
        "row": {"image": image, "label": 3},
        "uint8": pixels,
        "channels": pixels[None],
        "floats": pixels.astype(np.float32) / 255,
        "tensor": torch.from_numpy(pixels.copy()),
        "values": {"pixel_values": torch.from_numpy(pixels[None].astype(np.float32) / 255)},
    }
    for name, value in inputs.items():
        assert reconstruct(value).tobytes() == expected, name


def test_many_inputs_give_a_list(reconstruct, digits):
    images = pictures(5)
    expected = [to_bytes(reconstruct(image)) for image in images]
    pixels = np.stack([np.asarray(image) for image in images])
    labelled = [(image, 0) for image in images]
    arrays = (pixels, pixels[:, None], pixels[..., None], torch.from_numpy(pixels))
    for inputs in (images, tuple(images), labelled, *arrays):
        found = reconstruct(inputs)
        assert isinstance(found, list) and to_bytes(found) == expected
    assert to_bytes(reconstruct(images, batch_size=2)) == expected
    assert to_bytes(reconstruct(pixels[:1, None])) == expected[:1]
    train, _ = digits
    some = [to_bytes(image) for image, _ in zip(reconstruct(train), range(3), strict=False)]
    assert some == to_bytes(reconstruct([train[index] for index in range(3)]))


def test_data_sets_of_hugging_face(reconstruct):
    import datasets

    images = pictures(3)
    dataset = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 2]})
    expected = to_bytes(reconstruct(images))
    assert to_bytes(list(reconstruct(dataset))) == expected
    assert to_bytes(list(reconstruct(KeyDataset(dataset, "image"), batch_size=2))) == expected


def test_a_normalized_data_set_is_not_normalized_twice():
    data = np.random.default_rng(0).normal(50, 10, (20, 5)).astype(np.float32)
    dataset = load_data(data, normalize="standardize")
    model = VAE.build(input_shape=(5,), output_activation="identity")
    reconstruct = ReconstructionPipeline(model, GAEImageProcessor.for_model(model, dataset))
    np.testing.assert_allclose(np.stack(list(reconstruct(dataset))), reconstruct(data), rtol=1e-5)


def test_streams_are_read_one_batch_at_a_time(reconstruct):
    images, taken = pictures(6), []

    def stream():
        for index, image in enumerate(images):
            taken.append(index)
            yield image

    results = iter(reconstruct(stream(), batch_size=2))
    assert isinstance(results, Iterator) and len(taken) <= 1
    found, counts = [], []
    for _ in range(3):
        found.append(next(results))
        counts.append(len(taken))
    assert counts == [2, 2, 4]
    assert to_bytes([*found, *results]) == to_bytes(reconstruct(images))
    assert to_bytes(list(reconstruct(iter(images)))) == to_bytes(reconstruct(images))
    interpolate = InterpolationPipeline(reconstruct.model)
    pairs = ({"start": images[0], "end": images[1]} for _ in range(2))
    expected = to_bytes(interpolate((images[0], images[1]), num_steps=2))
    assert to_bytes(list(interpolate(pairs, num_steps=2))) == [expected, expected]


def test_errors_name_the_input(reconstruct, tmp_path, server):
    (tmp_path / "text.png").write_text("no image")
    image = pictures(1)[0]
    for inputs, message in (
        ("missing.png", "there is no image file 'missing.png'"),
        (tmp_path / "text.png", "cannot read the image .*not an image file"),
        (f"{server}/missing.png", f"cannot download the image {server}/missing.png: .* status 404"),
        (f"{server}/page", f"cannot read the image {server}/page: .*not an image file"),
        ("http://127.0.0.1:9/digit.png", "cannot download the image http://127.0.0.1:9/digit.png: "),
        (np.zeros((7, 7)), r"an array of shape \(7, 7\) does not match input_shape \(1, 8, 8\)"),
        (np.full((8, 8), np.nan), "nan"),
        (np.zeros((0, 8, 8)), r"there are no images: got an array of shape \(0, 8, 8\)"),
        ([], "there are no inputs: got an empty list"),
        ([np.zeros((2, 8, 8))], "expected one example of shape .*, got 2 in one input: pass a list"),
        ([image, 3], "expected a PIL image, a path, an array or a tensor, got 3"),
        (None, "expected a PIL image, a path, an array or a tensor, got None"),
        ({"label": 3}, "expected examples with the key .*, got label"),
    ):
        with pytest.raises(ValueError, match=message):
            reconstruct(inputs)


def test_errors_of_pairs():
    interpolate, (a, b, c) = InterpolationPipeline(VAE.build()), pictures(3)
    for inputs, message in (
        (a, "expected a pair .*, got an object of type Image"),
        ([a, b], "expected a pair .*, got an object of type Image: pass pipe"),
        ((a,), "expected a pair .*, got 1 of them"),
        ((a, b, c), "expected a pair .*, got 3 of them"),
        ((np.zeros((2, 8, 8)), np.zeros((3, 8, 8))), "must hold the same number of examples, got 2 and 3"),
    ):
        with pytest.raises(ValueError, match=message):
            interpolate(inputs)
    with pytest.raises(ValueError, match="num_steps must be 2 or more, got 1"):
        interpolate((a, b), num_steps=1)


def test_unknown_options_raise():
    pipe = InterpolationPipeline(VAE.build())
    with pytest.raises(TypeError, match="InterpolationPipeline has no option 'num_step'; did you mean 'num_steps'?"):
        pipe(tuple(pictures(2)), num_step=3)
    with pytest.raises(TypeError, match="GenerationPipeline has no option 'num_stepss'"):
        GenerationPipeline(VAE.build(), num_stepss=3)
    with pytest.raises(ValueError, match="num_samples and num_images are the same: pass one of them"):
        GenerationPipeline(VAE.build())(3, num_images=3)
    with pytest.raises(ValueError, match="num_images must be 1 or more, got 0"):
        GenerationPipeline(VAE.build())(num_images=0)


def test_options_of_the_constructor_are_defaults():
    a, b = pictures(2)
    pipe = InterpolationPipeline(VAE.build(), num_steps=3)
    assert len(pipe((a, b))) == 3 and len(pipe((a, b), num_steps=4)) == 4
    generate = GenerationPipeline(VAE.build(), num_samples=4, seed=1, batch_size=2)
    assert to_bytes(generate()) == to_bytes(GenerationPipeline(VAE.build())(4, seed=1))


# Models, processors, devices


def test_the_model_stays_as_it_is():
    model = VAE.build().train()
    pipe = ReconstructionPipeline(model)
    pipe(pictures(1)[0])
    assert isinstance(pipe, Pipeline) and model.training and pipe.device == model.device
    assert pipe.to("cpu") is pipe and pipe.task == "image-reconstruction"


def test_processor_of_the_repository_or_of_the_training(tmp_path, digits):
    model = VAE.build()
    ReconstructionPipeline(model, GAEImageProcessor((1, 8, 8), background="black")).save_pretrained(tmp_path)
    loaded = ReconstructionPipeline.from_pretrained(tmp_path)
    assert loaded.processor.background == ReconstructionPipeline(loaded.model).processor.background == "black"
    assert (tmp_path / "README.md").is_file() and loaded.image_processor is loaded.processor
    loaded.model.processor = GAEImageProcessor((1, 8, 8), background="red")
    assert ReconstructionPipeline(loaded.model).processor.background == "red"
    assert ReconstructionPipeline(model).processor.background == "white"
    with pytest.raises(ValueError, match=r"processor must be a GAEImageProcessor for input_shape \(1, 8, 8\)"):
        ReconstructionPipeline(model, GAEImageProcessor((3, 8, 8)))
    with pytest.raises(ValueError, match="ReconstructionPipeline needs a model, got the text 'user/vae'"):
        ReconstructionPipeline("user/vae")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    model, image = VAE.build().to(dtype), pictures(1)[0]
    x = GAEImageProcessor((1, 8, 8))(image)["pixel_values"]
    embedding = FeatureExtractionPipeline(model)(image, return_tensors=True)
    assert torch.equal(embedding, model.embed(x))
    expected = GAEImageProcessor((1, 8, 8)).postprocess(model.reconstruct(x))
    assert to_bytes([ReconstructionPipeline(model)(image)]) == to_bytes(expected)
    vectors = VAE.build(input_shape=(5,)).to(dtype)
    for pipe in (ReconstructionPipeline, partial(InterpolationPipeline, num_steps=2)):
        found = pipe(vectors)((np.ones(5), np.ones(5)))
        assert found[0].dtype == np.float32
    assert GenerationPipeline(vectors)(2, seed=0).dtype == np.float32


# Samplers of the repository


def test_samplers_by_name(tmp_path):
    model = VAE.build()
    fitted = [GaussianMixtureSampler(num_components=1).fit(torch.randn(30, 3) + shift) for shift in (0, 5)]
    pipe = GenerationPipeline(model, fitted[0])
    pipe.save_pretrained(tmp_path)
    fitted[1].save_pretrained(tmp_path / "samplers" / "gmm")
    loaded = GenerationPipeline.from_pretrained(tmp_path)
    expected = {
        "sampler": pipe(4, seed=0),
        "samplers/gmm": GenerationPipeline(model, fitted[1])(4, seed=0),
        None: GenerationPipeline(model)(4, seed=0),
    }
    for sampler, images in expected.items():
        assert to_bytes(loaded(4, seed=0, sampler=sampler)) == to_bytes(images)
    assert to_bytes(loaded(4, seed=0, sampler=fitted[1])) == to_bytes(expected["samplers/gmm"])
    assert to_bytes(loaded(4, seed=0)) == to_bytes(expected["sampler"])
    by_name = GenerationPipeline(loaded.model, "samplers/gmm")
    assert to_bytes(by_name(4, seed=0)) == to_bytes(expected["samplers/gmm"])
    strips = TraversalPipeline.from_pretrained(tmp_path)
    assert to_bytes(strips(seed=0)) == to_bytes(TraversalPipeline(model, fitted[0])(seed=0))
    assert to_bytes(strips(seed=0, sampler=None)) == to_bytes(TraversalPipeline(model)(seed=0))
    with pytest.raises(ValueError, match="has no sampler in its subfolder 'samplers/flow': create it with"):
        loaded(4, sampler="samplers/flow")
    with pytest.raises(ValueError, match="and this model was not loaded from one"):
        pipe(4, sampler="samplers/gmm")
    with pytest.raises(ValueError, match="sampler must be a fitted sampler, got 3"):
        pipe(4, sampler=3)


def test_digits_reconstruct_as_the_model_does(trained, digits):
    """A trained model with its own files."""
    pipe = ReconstructionPipeline.from_pretrained(trained)
    _, validation = digits
    x = torch.stack([validation[index]["pixel_values"] for index in range(4)])
    images = GAEImageProcessor((1, 8, 8)).postprocess(x)
    expected = pipe.model.reconstruct(pipe.processor(images)["pixel_values"])
    assert to_bytes(pipe(images, batch_size=4)) == to_bytes(pipe.processor.postprocess(expected))
