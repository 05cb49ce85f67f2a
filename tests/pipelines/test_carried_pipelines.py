"""A model that carries its code carries the pipelines too. They run where gae_hub is not installed."""

import json
import subprocess
import sys
import textwrap

import pytest
from localhub import LocalHub

SAVE = """
    import json, torch
    from gae_hub import GAEImageProcessor, GenerationPipeline, SVAEConfig, SVAEModel, TraversalPipeline
    from gae_hub import InterpolationPipeline, ReconstructionPipeline, FeatureExtractionPipeline

    SVAEConfig.register_for_auto_class("AutoConfig")
    SVAEModel.register_for_auto_class("AutoModel")
    torch.manual_seed(0)
    model = SVAEModel(SVAEConfig(input_shape=(1, 8, 8), latent_dim=3, encoder_config={"hidden_sizes": [16]}))
    pipe = GenerationPipeline(model, processor=GAEImageProcessor((1, 8, 8), background="black"))
    pipe.save_pretrained("carried")
    images = pipe(2, seed=0)
    for index, image in enumerate(images):
        image.save(f"{index}.png")
    flat = lambda pictures: [image.tobytes().hex() for image in pictures]
    expected = {
        "generation": flat(pipe(4, seed=1)),
        "embedding": FeatureExtractionPipeline.from_pretrained("carried")("0.png"),
        "reconstruction": flat(ReconstructionPipeline.from_pretrained("carried")(["0.png", "1.png"])),
        "interpolation": flat(InterpolationPipeline.from_pretrained("carried")(("0.png", "1.png"), num_steps=3)),
        "traversal": [flat(strip) for strip in TraversalPipeline.from_pretrained("carried")("0.png")],
    }
    print(json.dumps(expected))
"""
RUN = """
    import json, os, sys
    with_library, repository = sys.argv[1] == "with", sys.argv[2]
    blocked = ("peft", "diffusers") if with_library else ("gae_hub", "peft", "diffusers")
    for name in blocked:
        sys.modules[name] = None  # as if it were not installed
    from transformers import pipeline
    if with_library:
        import gae_hub
    else:
        try:
            pipeline("image-reconstruction", model=repository, trust_remote_code=False)
        except (ValueError, KeyError) as error:
            assert "trust_remote_code=True" in str(error), error
        else:
            raise SystemExit("the code ran without permission")
    trust = {} if with_library else {"trust_remote_code": True}
    flat = lambda pictures: [image.tobytes().hex() for image in pictures]
    make = lambda task: pipeline(task, model=repository, device="cpu", **trust)
    generate = make("unconditional-image-generation")
    found = {
        "generation": flat(generate(num_images=4, seed=1)),
        "embedding": make("image-feature-extraction")("0.png"),
        "reconstruction": flat(make("image-reconstruction")(["0.png", "1.png"], batch_size=2)),
        "interpolation": flat(make("image-interpolation")(("0.png", "1.png"), num_steps=3)),
        "traversal": [flat(strip) for strip in make("latent-traversal")("0.png")],
    }
    if with_library:
        assert type(generate) is gae_hub.GenerationPipeline and type(generate.model) is gae_hub.SVAEModel
        assert not hasattr(generate.model.config, "custom_pipelines")
    else:
        assert type(generate).__module__.startswith("transformers_modules.")
        assert not any(name.startswith("gae_hub.") for name in sys.modules)
        for method in (lambda: generate.draw(2), lambda: type(generate).from_pretrained("carried")):
            try:
                method()
            except ImportError as error:
                assert "pip install gae_hub" in str(error)
            else:
                raise SystemExit("expected an ImportError")
        generate.model.save_pretrained("again")
        assert "custom_pipelines" not in json.load(open("again/config.json"))
        assert not os.path.exists("again/generation.py")
    print(json.dumps(found))
"""


def run(code, folder, *arguments, env=None):
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, the folder `carried` with a model and its code, and the results of the library's own pipelines."""
    folder = tmp_path_factory.mktemp("pipelines")
    return folder, run(SAVE, folder)


def test_files_and_config(folder):
    config = json.loads((folder[0] / "carried" / "config.json").read_text())
    assert config["custom_pipelines"]["latent-traversal"] == {
        "impl": "traversal.TraversalPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
    files = {path.stem for path in (folder[0] / "carried").glob("*.py")}
    assert {"generation", "task_pipeline", "processing", "svae"} <= files
    assert not files & {"writing", "examples", "plots", "array_files", "training"}
    for path in (folder[0] / "carried").glob("*.py"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        assert not any(line.startswith(("from gae_hub", "import gae_hub", "from ..")) for line in lines), path.name


@pytest.mark.slow
@pytest.mark.parametrize("library", ["with", "without"])
def test_results_with_and_without_the_library(folder, library):
    """With the library its own pipelines run, without trust_remote_code."""
    path, expected = folder
    assert run(RUN, path, library, "carried") == expected


@pytest.mark.slow
def test_a_repository_of_the_hub_runs_without_the_library(folder, tmp_path):
    """The Hub's files need no optional package."""
    path, expected = folder
    with LocalHub(users={"alice": "hf_alice"}) as hub:
        hub.create_repo("alice/carried", "model")
        files = [file for file in (path / "carried").rglob("*") if file.is_file()]
        hub.commit("alice/carried", {str(file.relative_to(path / "carried")): file.read_bytes() for file in files})
        assert run(RUN, path, "without", "alice/carried", env=hub.env(tmp_path / "home")) == expected
