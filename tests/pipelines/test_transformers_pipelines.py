"""transformers' own pipelines and auto classes with a repository of this library."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from cases import MODELS, SHAPE
from PIL import Image
from transformers import AutoConfig, AutoProcessor, BaseImageProcessor, pipeline
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from gae_hub import GAEImageProcessor
from gae_hub._autoload import _LazyProcessors

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


@pytest.mark.slow
def test_a_pipeline_loads_a_repository_in_a_fresh_process(tmp_path):
    """`import gae_hub` is enough, before or after transformers."""
    model, processor = MODELS[0].build().eval(), GAEImageProcessor(SHAPE)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    IMAGES[0].save(tmp_path / "digit.png")
    code = """
        import json, sys
        first, second = ("gae_hub", "transformers") if sys.argv[1] == "before" else ("transformers", "gae_hub")
        __import__(first), __import__(second)
        from transformers import pipeline
        extract = pipeline("image-feature-extraction", model=".")
        print(json.dumps(extract("digit.png")))
    """
    expected = model.embed(processor(IMAGES[0])["pixel_values"]).tolist()
    for order in ("before", "after"):
        process = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), order], cwd=tmp_path, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        np.testing.assert_allclose(json.loads(process.stdout.splitlines()[-1]), expected, rtol=1e-5, atol=1e-7)
