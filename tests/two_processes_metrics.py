"""Measure in one of several processes, each with a part of the rows. test_evaluate_metric.py starts it."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from cases import generator, images
from safetensors.torch import save_file

from gae_hub.metrics import MEASURES


def measure(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Values of several measures, computed from this process's share of the rows. Shares differ in size."""
    found = {}
    for num in (30, 2500):  # stored as rows, and folded
        x, y = (torch.randn(num, 6, generator=generator(seed), dtype=torch.float64) + seed for seed in (0, 1))
        cut = [0, num] if world == 1 else [0, num - 11, num]
        own = slice(cut[rank], cut[rank + 1])
        for name in ("fid", "kid", "prdc"):
            engine = MEASURES[name](feature_extractor="features")
            engine.add(x[own], y[own])
            found |= {f"{name}-{key}-{num}": float(value) for key, value in engine.compute().items()}
    pixels, engine = images(20).double(), MEASURES["psnr"]()
    engine.add(pixels[rank::world], pixels[rank::world].square())
    psnr = engine.compute()["psnr"]
    found |= {"psnr": float(psnr), "psnr-fingerprint": int(psnr.passport.references_fingerprint[:8], 16)}
    engine = MEASURES["clustering"](num_fits=3)
    if rank == world - 1:  # the other processes have no rows
        engine.add(x[:100], torch.arange(100) % 2)
    found |= {key: float(value) for key, value in engine.compute().items()}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}


if __name__ == "__main__":
    dist.init_process_group("gloo")
    found = measure(dist.get_rank(), dist.get_world_size())
    save_file(found, Path(sys.argv[1]) / f"{dist.get_rank()}.safetensors")
    dist.barrier()
    os._exit(0)  # gloo's threads sometimes abort a process that exits normally
