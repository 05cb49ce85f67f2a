"""Two processes train one model."""

import json
import subprocess
import sys

import pytest
import torch
from child_processes import child_environment
from trainers import make_trainer

from gae_hub import BetaVAEModel

DISTRIBUTED = """
import json, os, sys, torch, torch.distributed as dist
from gae_hub import GAETrainer, GAETrainingArguments, BetaVAEConfig, BetaVAEModel

class Breaking(BetaVAEModel):
    # the loss of process 0 is infinite in one step
    calls = 0
    def forward(self, pixel_values, **kwargs):
        out = super().forward(pixel_values, **kwargs)
        self.calls += self.training
        if self.training and self.calls == 5 and dist.get_rank() == 0:
            out.loss = out.loss * float("inf")
        return out

torch.manual_seed(0)
x = torch.rand(23, 1, 8, 8)
model = Breaking(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3, observation_std="optimal"))
sizes = dict(per_device_train_batch_size=4, num_train_epochs=2, per_device_eval_batch_size=2)
args = GAETrainingArguments(sys.argv[1], **sizes, disable_tqdm=True, use_cpu=True)
trainer = GAETrainer(model, args, train_dataset=x, eval_dataset=x[:9])
assert args.world_size == dist.get_world_size() == 2
trainer.train()
flat = torch.cat([p.detach().flatten() for p in model.parameters()] + [model.likelihood.variance.view(1)])
both = [torch.empty_like(flat) for _ in range(2)]
dist.all_gather(both, flat)
assert torch.equal(*both), "the processes hold different models"
assert flat.isfinite().all()
assert trainer.guard.events == [{"step": 5, "term": "loss", "restored_step": 3}], trainer.guard.events
noise = [torch.empty(3) for _ in range(2)]
dist.all_gather(noise, torch.rand(3))
assert not torch.equal(*noise), "the processes draw the same noise"
# the last batch of one process is filled up, none is, one process has no batch
found = [trainer.evaluate(x[:n]) for n in (9, 8, 1)]
values = torch.tensor([[f["eval_loss"], f["eval_reconstruction"], f["eval_kl"]] for f in found], dtype=torch.float64)
both = [torch.empty_like(values) for _ in range(2)]
dist.all_gather(both, values)
assert torch.equal(*both)
seen = []
class Order(torch.utils.data.Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, i):
        seen.append(i)
        return {"pixel_values": x[i]}
sizes_of_one = dict(sizes, num_train_epochs=1, overwrite_output_dir=True)
args = GAETrainingArguments(sys.argv[1] + "/again", **sizes_of_one, disable_tqdm=True, use_cpu=True)
again = GAETrainer(BetaVAEModel(model.config), args, train_dataset=Order())
for _ in range(2):  # the processes share one order of the data, also in the second run
    seen.clear()
    again.train()
    both = [torch.empty(8, dtype=torch.long) for _ in range(2)]
    dist.all_gather(both, torch.tensor(seen[:8]))
    assert torch.cat(both).unique().numel() == 16, both
resumed = Breaking(model.config)
resumed.calls = 3
args = GAETrainingArguments(sys.argv[1], **sizes, disable_tqdm=True, use_cpu=True)
GAETrainer(resumed, args, train_dataset=x, eval_dataset=x[:9]).train(
    resume_from_checkpoint=sys.argv[1] + "/checkpoint-3"
)
assert all(torch.equal(p, q) for p, q in zip(resumed.state_dict().values(), model.state_dict().values()))
if trainer.is_world_process_zero():
    model.save_pretrained(sys.argv[1] + "/trained")
    print(json.dumps({"world": dist.get_world_size(), "steps": trainer.state.global_step, "found": values.tolist()}))
dist.barrier()
sys.stdout.flush()
os._exit(0)  # gloo's threads sometimes abort a process that exits normally
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """They hold the same weights, evaluate as one process, recover together from divergence, and resume to the bit."""
    script = tmp_path / "distributed.py"
    script.write_text(DISTRIBUTED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(script), str(tmp_path / "out")]
    process = subprocess.run(command, capture_output=True, text=True, env=child_environment(), timeout=120)
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout.strip().splitlines()[-1])
    assert report["world"] == 2 and report["steps"] == 6
    model = type("Breaking", (BetaVAEModel,), {}).from_pretrained(tmp_path / "out" / "trained")
    torch.manual_seed(0)
    x = torch.rand(23, 1, 8, 8)
    alone = make_trainer(tmp_path / "alone", model, per_device_eval_batch_size=2)
    for n, values in zip((9, 8, 1), report["found"], strict=True):
        evaluation = alone.evaluate(x[:n])  # a batch has the same noise in every process
        expected = [evaluation["eval_loss"], evaluation["eval_reconstruction"], evaluation["eval_kl"]]
        assert values == pytest.approx(expected, rel=1e-6)
        assert evaluation["eval_kl"] == pytest.approx(model.eval().encode(x[:n]).kl().mean().item(), rel=1e-5)
    names = {path.name for path in (tmp_path / "out" / "checkpoint-6").iterdir()}
    assert {"rng_state_0.safetensors", "rng_state_1.safetensors"} <= names
