"""Repositories of tiny vision transformers with random weights, as folders and on a stand-in of the Hub."""

import json
from pathlib import Path

import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 16,
    "patch_size": 4,
}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
PROCESSOR = {"image_mean": MEAN, "image_std": STD, "size": {"height": 16, "width": 16}}


def _siglip(**sizes):
    text = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = SiglipVisionConfig(**sizes).to_dict()
    return SiglipModel(SiglipConfig(text_config={**text, "vocab_size": 20}, vision_config=vision))


def _mae(**sizes):
    decoder = {"decoder_hidden_size": 8, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    return ViTMAEForPreTraining(ViTMAEConfig(**sizes, **decoder, decoder_intermediate_size=8))


FAMILIES = {
    "dinov2": lambda **sizes: Dinov2Model(Dinov2Config(**sizes)),
    "dinov2_with_registers": lambda **sizes: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes)),
    "siglip": _siglip,
    "vit_mae": _mae,
    "vit": lambda **sizes: ViTModel(ViTConfig(**sizes)),
    "clip": lambda **sizes: CLIPVisionModel(CLIPVisionConfig(**sizes)),
}
"""Family to a function that builds the model that a repository of this family holds."""


def save_encoder(folder: Path, family: str = "dinov2", processor: dict | None = PROCESSOR, **sizes):
    """Save a tiny model with random weights. All tensors are random, also those that start as constants."""
    torch.manual_seed(1)
    model = FAMILIES[family](**{**SIZES, **sizes})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def publish(hub, repo_id: str, folder: Path) -> str:
    """Commit the files of a folder to a repository of a LocalHub. Returns the commit."""
    if ("model", repo_id) not in hub.repos:
        hub.create_repo(repo_id)
    return hub.commit(repo_id, {path.name: path.read_bytes() for path in folder.iterdir()})
