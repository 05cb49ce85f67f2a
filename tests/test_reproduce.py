"""scripts/reproduce.py: its configs, its binary images, and the text of its cards."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from gae_hub.data.datasets import InMemoryDataset

ROOT = Path(__file__).parents[1]
REPRODUCE = runpy.run_path(str(ROOT / "scripts" / "reproduce.py"))
ROWS = REPRODUCE["ROWS"]


@pytest.mark.parametrize("name", ROWS)
def test_config_has_the_fields_of_the_row(name):
    row, config = ROWS[name], REPRODUCE["make_config"](ROWS[name])
    assert {field: getattr(config, field) for field in row.fields} == row.fields
    assert config.encoder_config.hidden_sizes == row.encoder["hidden_sizes"]


@pytest.mark.parametrize("name", ROWS)
def test_card_has_the_text_for_its_measurement(name):
    folder = ROOT / "model_cards" / name
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    text = REPRODUCE["reproduction"](name, ROWS[name], measured)
    assert text in (folder / "README.md").read_text(encoding="utf-8")
    longer = REPRODUCE["reproduction"](name, ROWS[name], {**measured, "epochs": 7})
    assert f"python scripts/reproduce.py {name} --num_train_epochs 7\n" in longer


def test_static_binarisation_depends_on_the_seed_only():
    images = InMemoryDataset(torch.full((50, 1, 8, 8), 51, dtype=torch.uint8))
    first, again, other = (REPRODUCE["binarise_once"](images, seed).pixel_values for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert set(first.unique().tolist()) == {0, 255}
    assert (first == 255).float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_dynamic_binarisation_draws_anew():
    images = REPRODUCE["DynamicallyBinarised"](InMemoryDataset(torch.full((50, 1, 8, 8), 51, dtype=torch.uint8)))
    first, second = (images.read([*range(50)]) for _ in range(2))
    assert not torch.equal(first, second) and set(first.unique().tolist()) == {0.0, 1.0}
    assert first.mean().item() == pytest.approx(0.2, abs=0.03)
