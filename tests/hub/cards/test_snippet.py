"""The code example of a card runs, and its output is the one on the card."""

import re

import torch
from cases import AE, VAE

from gae_hub import GenerationPipeline, VAEModel

EXAMPLE = re.compile(r"```python\n(.*?)```\n\nOutput, captured.*?```\n(.*?)\n```", re.S)


def test_the_code_example_of_a_card_runs(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parent)
    code, output = EXAMPLE.search((trained / "README.md").read_text()).groups()
    scope = {}
    exec(code, scope)
    assert scope["latents"].shape == (16, 4) and capsys.readouterr().out.strip() == output


def test_a_model_without_a_prior_has_an_example_without_samples(tmp_path):
    GenerationPipeline(AE.build()).save_pretrained(tmp_path)
    code, output = EXAMPLE.search((tmp_path / "README.md").read_text()).groups()
    assert "GenerationPipeline" not in code and output == "(16, 3) (16, 1, 8, 8)"


def test_the_example_of_a_model_of_tables(tmp_path):
    GenerationPipeline(VAE.build(input_shape=(5,))).save_pretrained(tmp_path)
    code, output = EXAMPLE.search((tmp_path / "README.md").read_text()).groups()
    assert "samples = pipe(num_samples=16, seed=0)" in code and output == "(16, 5)\n(16, 3) (16, 5)"


def test_an_example_that_fails_is_shown_without_output(tmp_path, caplog):
    """A custom network without saved code cannot be loaded."""
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
    GenerationPipeline(VAEModel(VAE.build().config, encoder=encoder)).save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "```python" in text and "Output, captured" not in text
    assert "the code example of the model card failed" in caplog.text
