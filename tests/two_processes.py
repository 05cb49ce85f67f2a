"""One training step of every method in one of several processes, with gloo, or NCCL on GPUs."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from cases import MODELS, images
from safetensors.torch import save_file
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

BATCH = 8
# settings in addition to those of the rows, where a batch statistic depends on them
MORE = {
    "beta_tc_vae": [{"dataset_size": 50}],
    "vae": [{"observation_std": "optimal"}],
    "vq_vae": [{"codebook_update": "gradient"}],
}
SETTINGS = {
    f"{case.id}-{number}": (case, fields)
    for case in MODELS
    for number, fields in enumerate([{}, *MORE.get(case.id, [])])
}


class Noise:
    """Context in which `torch.randn` and `torch.rand` return this process's part of noise for all processes."""

    def __init__(self, rank: int, world: int):
        self.rank, self.world, self.calls = rank, world, 0
        self.real = {name: getattr(torch, name) for name in ("randn", "rand")}

    def __enter__(self):
        for name in self.real:
            setattr(torch, name, self.part_of(name))

    def __exit__(self, *error):
        for name, function in self.real.items():
            setattr(torch, name, function)

    def part_of(self, name):
        def draw(shape, generator=None, device=None, **kwargs):
            self.calls += 1
            whole = self.real[name](
                (shape[0] * self.world, *shape[1:]), generator=torch.Generator().manual_seed(self.calls), **kwargs
            )
            return whole[self.rank * shape[0] : (self.rank + 1) * shape[0]].to(device)

        return draw


def shard(model):
    """Shard by FSDP: encoder and decoder separately, then the rest."""
    for module in (model.encoder, model.decoder, model):
        fully_shard(module)
    return model


def step(setting: str, rank: int, world: int, wrap=None, device="cpu") -> dict[str, torch.Tensor]:
    """Loss, averaged gradients and buffers after one training step on this process's part of the batch."""
    case, fields = SETTINGS[setting]
    model = case.build(**fields).double().to(device).train()
    torch.manual_seed(1)
    size = BATCH // world
    own = images(BATCH).double()[rank * size : (rank + 1) * size].to(device)
    with Noise(rank, world):
        net = wrap(model) if wrap else model
        loss = net(own).loss
        loss.backward()
    loss = loss.detach()
    if wrap:
        dist.all_reduce(loss)
        loss /= world
    found = {f"gradient.{name}": p.grad for name, p in model.named_parameters() if case.is_trained(name)}
    found |= {f"buffer.{name}": b for name, b in model.named_buffers()}
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in found.items()}
    return {"loss": loss.cpu()} | {name: value.cpu().clone().contiguous() for name, value in whole.items()}


if __name__ == "__main__":
    backend = sys.argv[2] if len(sys.argv) > 2 else "gloo"
    dist.init_process_group(backend)
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    for name, (case, _) in SETTINGS.items():
        file = Path(sys.argv[1]) / f"{name}.{rank}"
        save_file(step(name, rank, world, DistributedDataParallel, device), f"{file}.safetensors")
        if case.model_class.shardable:
            save_file(step(name, rank, world, shard, device), f"{file}.sharded.safetensors")
    dist.barrier()
    os._exit(0)  # gloo's threads sometimes abort a process that exits normally
