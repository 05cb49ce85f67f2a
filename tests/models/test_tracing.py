"""torch.compile and torch.export trace every method once, for all batch sizes."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from cases import MODELS, ROWS, ModelCase, images

TRACED = [case for case in MODELS if case.model_class.can_be_compiled]
DIFFERENTIATING = [case for case in MODELS if not case.model_class.can_be_compiled]
QUICK = {"vae", "beta_tc_vae", "factor_vae", "vq_vae"}  # their losses read the batch size


def each(cases, quick=frozenset(ROWS)):
    """Parametrize over cases, of which those that are not quick are slow."""
    rows = [pytest.param(case, id=case.id, marks=() if case.id in quick else pytest.mark.slow) for case in cases]
    return pytest.mark.parametrize("case", rows)


def build(case: ModelCase, **fields):
    """A model in training mode, whose codebooks are initialised."""
    torch._dynamo.reset()
    model = case.build(**fields).train()
    model(images(20))
    model.zero_grad()
    return model


def loss_of(model, x):
    """The loss with fixed noise, after its gradients were computed."""
    torch.manual_seed(1)
    loss = model(x).loss
    loss.backward()
    return loss.detach()


def assert_same_step(compiled, model, other, size):
    """Assert that a compiled model and a copy that is not compiled have the same loss, gradients and buffers."""
    x = images(size, seed=size)
    torch.testing.assert_close(loss_of(compiled, x), loss_of(other, x))
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5)
    for one, two in zip(model.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(one, two)


@each(TRACED)
def test_compiles_to_one_graph_for_all_batch_sizes(case):
    model = build(case)
    other = deepcopy(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    assert_same_step(compiled, model, other, 16)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert_same_step(compiled, model, other, 19)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised inside of inductor
@pytest.mark.parametrize(
    "backend", ["eager", *(pytest.param(name, marks=pytest.mark.slow) for name in ("aot_eager", "inductor"))]
)
@each([ROWS["beta_tc_vae"], ROWS["vq_vae"]], {"vq_vae"})
def test_compiles_when_the_batch_size_changes(case, backend):
    """By default torch.compile treats a size as constant until it changes. A batch of 1 is always compiled anew."""
    model = build(case, likelihood="gaussian", observation_std="optimal")
    other = deepcopy(model)
    compiled = torch.compile(model, backend=backend)
    for size in (6, 4, case.model_class.min_batch_size):
        if backend == "inductor":  # its kernels draw other noise
            assert compiled(images(size)).loss.isfinite()
        else:
            assert_same_step(compiled, model, other, size)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # by dynamo
@each(DIFFERENTIATING, {"rae_gp"})
def test_gradients_inside_a_loss_are_not_compiled(case):
    """torch.compile compiles the rest, and explains why there is no single graph. torch.export raises."""
    model = build(case)
    other = deepcopy(model)
    assert_same_step(torch.compile(model, backend="aot_eager"), model, other, 6)
    with pytest.raises(Exception, match="torch.compile cannot differentiate a gradient"):
        torch.compile(model, backend="eager", fullgraph=True)(images(6))
    with pytest.raises(RuntimeError, match="torch.export cannot trace a forward pass that computes a gradient"):
        torch.export.export(model.eval(), (images(4),))


def export(model):
    return torch.export.export(
        model, (images(4),), dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}}, strict=False
    )


def assert_same_output(program, model, size):
    x = images(size, seed=size)
    torch.manual_seed(1)
    expected = model(x)
    torch.manual_seed(1)
    found = program(x)
    for name in ("loss", "reconstruction", "latents", "losses", "metrics"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@each(TRACED, QUICK)
def test_exports_with_a_free_batch_size(case):
    model = build(case).eval()
    with torch.no_grad():
        program = export(model).module()
        for size in (2, 7):
            assert_same_output(program, model, size)


@each([ROWS["vae"]])
def test_exports_of_convolutions_and_a_learned_variance(case):
    model = build(case, observation_std="optimal", encoder_config="resnet", decoder_config="conv").eval()
    with torch.no_grad():
        assert_same_output(export(model).module(), model, 3)


def test_beta_tc_vae_exports_for_batches_larger_than_the_data_set():
    """Batches below the size of the data set are weighted by it, larger ones are the whole mixture."""
    model = ROWS["beta_tc_vae"].build(dataset_size=6).eval()
    with torch.no_grad():
        program = export(model).module()
        for size in (5, 6, 9):
            assert_same_output(program, model, size)


@pytest.mark.slow
def test_an_exported_model_runs_in_another_process(tmp_path):
    """Its output has a class of gae_hub, so that process imports it. Nothing is unpickled."""
    model = build(ROWS["vq_vae"]).eval()
    with torch.no_grad():
        program = export(model)
    program.example_inputs = None
    torch.export.save(program, tmp_path / "model.pt2")
    torch.save(images(3), tmp_path / "x.pt")
    code = (
        "import pickle, sys, torch, gae_hub.models.vq_vae\n"
        f"x = torch.load(r'{tmp_path}/x.pt', weights_only=True)\n"
        "pickle.Unpickler = pickle.loads = pickle.load = torch.load = None\n"
        f"output = torch.export.load(r'{tmp_path}/model.pt2').module()(x)\n"
        "print(output.loss.item(), output.codes.sum().item())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr
    loss, codes = map(float, process.stdout.split())
    expected = model(images(3))
    assert loss == pytest.approx(expected.loss.item(), rel=1e-5) and codes == expected.codes.sum()
