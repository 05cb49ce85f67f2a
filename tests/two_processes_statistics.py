"""Statistics of a representation autoencoder in one of two processes: of unlike numbers of batches."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from cases import images
from safetensors.torch import save_file

from gae_hub import GAETrainer, GAETrainingArguments, RepresentationAEConfig, RepresentationAEModel

VIT = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}

if __name__ == "__main__":
    encoder, output = sys.argv[1:3]
    args = GAETrainingArguments(
        str(Path(output) / "run"),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=9,
        max_steps=1,
        use_cpu=True,
        disable_tqdm=True,
    )
    torch.manual_seed(0)
    config = RepresentationAEConfig(input_shape=(3, 16, 16), encoder_config=encoder, decoder_config=VIT)
    model, seen = RepresentationAEModel(config), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    GAETrainer(model, args, train_dataset=images(21, (3, 16, 16))).train()
    found = {"mean": model.normalization.mean, "std": model.normalization.std}
    save_file({**found, "seen": torch.tensor(seen)}, Path(output) / f"{dist.get_rank()}.safetensors")
    dist.barrier()
    os._exit(0)  # gloo's threads sometimes abort a process that exits normally
