"""transformers' own pipelines and auto classes with a repository of this library."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from cases import MODELS, SHAPE
from localhub import LocalHub, point_clients_at
from PIL import Image
from transformers import AutoConfig, AutoProcessor, BaseImageProcessor, pipeline
from transformers.models.auto.image_processing_auto import AutoImageProcessor

import gae_hub
from gae_hub import GAEImageProcessor, GaussianMixtureSampler, GenerationPipeline, ReconstructionPipeline
from gae_hub._autoload import _LazyProcessors
from gae_hub.pipelines import TASKS

IMAGES = [Image.fromarray(pixels) for pixels in np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)]


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_image_feature_extraction_returns_the_embedding(case):
    model, processor = case.build().eval(), GAEImageProcessor(SHAPE)
    extract = pipeline("image-feature-extraction", model=model, image_processor=processor)
    expected = model.embed(processor(IMAGES[0])["pixel_values"])
    torch.testing.assert_close(extract(IMAGES[0], return_tensors=True), expected)
    assert extract(IMAGES[0]) == extract(IMAGES[0])


def test_auto_classes_find_the_image_processor(tmp_path):
    GAEImageProcessor(SHAPE, background="red").save_pretrained(tmp_path)
    MODELS[0].build().save_pretrained(tmp_path)
    for auto in (AutoImageProcessor, AutoProcessor):
        processor = auto.from_pretrained(tmp_path)
        assert type(processor) is GAEImageProcessor and isinstance(processor, BaseImageProcessor)
        assert (processor.input_shape, processor.background) == (SHAPE, "red")
    assert AutoImageProcessor.from_pretrained(tmp_path, background="blue").background == "blue"
    with pytest.raises(ValueError, match="has no setting 'backgroud'; did you mean 'background'?"):
        AutoImageProcessor.from_pretrained(tmp_path, backgroud="blue")
    file = tmp_path / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"image_processor_type": "GAEImageProcessor",', ""))
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is GAEImageProcessor  # by the model's config


def test_image_processors_of_other_configs_are_found_as_before():
    other = AutoConfig.for_model("vit")
    registered = _LazyProcessors({type(other): {"pil": BaseImageProcessor}})
    assert registered[type(other)] == {"pil": BaseImageProcessor} and type(other) in registered
    assert int not in registered and "gae_vae" not in registered
    with pytest.raises(KeyError):
        registered[int]


@pytest.mark.parametrize("task", TASKS)
def test_tasks_are_those_of_the_classes(task, trained):
    """`pipeline` loads the repository's model, processor and sampler, at the options that it has itself."""
    pipe = pipeline(task, model=str(trained), device="cpu")
    module, name = TASKS[task].split(".")
    assert type(pipe) is getattr(gae_hub, name) and type(pipe).__module__ == f"gae_hub.pipelines.{module}"
    assert pipe.task == task == type(pipe).default_task
    processor = GAEImageProcessor.from_pretrained(trained)
    assert pipe.processor.to_dict() == processor.to_dict()
    given = pipeline(task, model=pipe.model, image_processor=processor)
    assert given.processor is processor and given.model is pipe.model
    assert type(pipeline(model=pipe.model, task=task, pipeline_class=type(pipe))) is type(pipe)
    loaded = type(pipe).from_pretrained(trained)
    call = {
        "unconditional-image-generation": lambda p: [image.tobytes() for image in p(4, seed=0)],
        "image-feature-extraction": lambda p: p(IMAGES),
        "image-reconstruction": lambda p: [image.tobytes() for image in p(IMAGES)],
        "image-interpolation": lambda p: [image.tobytes() for image in p(tuple(IMAGES))],
        "latent-traversal": lambda p: [image.tobytes() for strip in p(seed=0) for image in strip],
    }[task]
    assert call(pipe) == call(loaded)


def test_pipelines_load_the_sampler_of_the_repository(trained):
    generate = pipeline("unconditional-image-generation", model=str(trained), device="cpu")
    assert type(generate.sampler).__name__ == "GaussianMixtureSampler"
    images = generate(num_images=3, seed=0, sampler="sampler")
    assert [i.tobytes() for i in images] == [i.tobytes() for i in generate(num_images=3, seed=0)]
    prior = pipeline("unconditional-image-generation", model=str(trained), sampler=None, device="cpu")
    assert prior.sampler is None
    assert [i.tobytes() for i in generate(3, 0, sampler=None)] == [i.tobytes() for i in prior(3, 0)]
    generate.model.processor = generate.processor  # as after training: the repository's sampler may not fit anymore
    assert pipeline("unconditional-image-generation", model=generate.model).sampler is None
    with pytest.raises(ValueError, match="has no sampler in its subfolder 'samplers/gmm'"):
        pipeline("unconditional-image-generation", model=str(trained), sampler="samplers/gmm", device="cpu")


def test_dtype_and_device_map(trained):
    for options in ({"dtype": "bfloat16", "device": "cpu"}, {"device_map": "cpu"}, {"dtype": "auto", "device": -1}):
        pipe = pipeline("image-reconstruction", model=str(trained), **options)
        assert pipe.dtype == (torch.bfloat16 if options.get("dtype") == "bfloat16" else torch.float32)
        assert pipe(IMAGES[0]).size == (8, 8) and pipe.model.device.type == "cpu"


def test_pipelines_of_other_models_are_those_of_transformers():
    from transformers import ImageFeatureExtractionPipeline, ViTConfig, ViTImageProcessorPil, ViTModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = ViTModel(ViTConfig(image_size=8, patch_size=4, **sizes))
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    extract = pipeline("image-feature-extraction", model=model, image_processor=processor, device="cpu")
    assert type(extract) is ImageFeatureExtractionPipeline
    assert np.shape(extract(IMAGES[0])) == (1, 5, 8)
    with pytest.raises(ValueError, match="ReconstructionPipeline needs a model, got an object of type ViTModel"):
        pipeline("image-reconstruction", model=model, image_processor=processor)


def test_pipelines_of_the_hub(tmp_path):
    """Model, processor and sampler come from one commit; a push keeps or deletes the sampler."""
    fit = GaussianMixtureSampler(num_components=1).fit
    with LocalHub(users={"alice": "hf_alice"}) as hub, point_clients_at(hub, tmp_path / "home", token="hf_alice"):
        first = GenerationPipeline(MODELS[1].build(), fit(torch.randn(20, 3)))
        first.push_to_hub("alice/vae")
        pipe = pipeline("unconditional-image-generation", model="alice/vae", device="cpu")
        images = [image.tobytes() for image in pipe(4, seed=0)]
        assert images == [image.tobytes() for image in first(4, seed=0)]
        GenerationPipeline(first.model, fit(torch.randn(20, 3) + 5)).push_to_hub("alice/vae")
        prior = GenerationPipeline(pipe.model, None)
        assert [image.tobytes() for image in prior(4, seed=0, sampler="sampler")] == images  # the model's commit
        assert type(pipeline("latent-traversal", model="alice/vae", device="cpu").sampler) is GaussianMixtureSampler
        with pytest.raises(RuntimeError, match="meant to be used with gae-hub"):
            pipeline(model="alice/vae")
        ReconstructionPipeline(first.model).push_to_hub("alice/vae", commit_message="Change the model")
        assert "sampler/config.json" in hub.files("alice/vae")
        prior.push_to_hub("alice/vae")
        assert "sampler/config.json" not in hub.files("alice/vae")


@pytest.mark.slow
@pytest.mark.parametrize("order", ["gae_hub transformers", "transformers gae_hub", "transformers.pipelines gae_hub"])
def test_tasks_are_registered_in_a_fresh_process(order, tmp_path):
    """`import gae_hub` is enough, before or after transformers, without a warning."""
    model, processor = MODELS[1].build().eval(), GAEImageProcessor(SHAPE)
    GenerationPipeline(model, processor=processor).save_pretrained(tmp_path)
    IMAGES[0].save(tmp_path / "digit.png")
    code = """
        import importlib, json, sys
        for name in sys.argv[1].split():
            importlib.import_module(name)
        assert not any(name.startswith("gae_hub.pipelines.") for name in sys.modules if "task_names" not in name)
        from transformers import pipeline
        extract = pipeline("image-feature-extraction", model=".", device="cpu")
        reconstruct = pipeline("image-reconstruction", model=".", device="cpu")
        print(json.dumps([extract("digit.png"), reconstruct("digit.png").tobytes().hex()]))
    """
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code), order],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "already registered" not in process.stderr
    embedding, reconstruction = json.loads(process.stdout.splitlines()[-1])
    x = processor(IMAGES[0])["pixel_values"]
    np.testing.assert_allclose(embedding, model.embed(x).tolist(), rtol=1e-5, atol=1e-7)
    assert reconstruction == processor.postprocess(model.reconstruct(x))[0].tobytes().hex()
