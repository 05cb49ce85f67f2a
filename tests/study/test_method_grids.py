"""The grids of the paper, and the reader of grid files."""

import subprocess
import sys
from math import sqrt

import pytest
import torch

from gae_hub import AutoGAE
from gae_hub.study.method_grids import BUILTIN_GRIDS, check_configuration, load_grid, read_methods

PAPER = load_grid("paper")

# Tables 8 to 21 of arXiv:2206.08309, column by column as printed
KERNELS = {
    "sigma": [0.01, 0.1, 0.5, 0.01, 0.1, 1, 100, 100, 10, 10],
    "lambda": [10, 10, 10, 0.01, 0.1, 10, 100, 100, 10, 10],
}
WAE = {"sigma": [0.01, 0.1, 0.5, 0.01, 0.1, 1, 1, 1, 2, 5], "lambda": [1, 1, 1, 0.01, 0.1, 1, 10, 100, 1, 1]}
RAE = {
    "beta": [1e-6, 1e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-2, 1e-1, 1],
    "lambda": [1e-3, 1e-3, 1e-6, 1e-4, 1e-2, 1e-1, 1, 1e-3, 1e-3, 1e-3],
}
PRINTED = {
    "VAE": {"seed": [*range(10)]},
    "VAMP": {"K": [10, 20, 30, 500, 100, 150, 200, 250, 300, 500]},
    "IWAE": {"L": [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]},
    "VAE-lin-NF": {
        "flows": "PPPPP RRRRR PRPRP 10P 15P 20P 30P PRPRPRPRPR PPP PRPRPRPPPR".split(),
    },
    "VAE-IAF": {
        "hidden_size": [32, 32, 32, 32, 32, 32, 32, 32, 64, 128],
        "num_hidden_layers": [2, 2, 2, 2, 2, 2, 4, 6, 2, 2],
        "num_flows": [1, 2, 5, 10, 20, 4, 4, 4, 4, 4],
    },
    "beta-VAE": {"beta": [1e-3, 1e-2, 1e-1, 0.5, 2, 5, 10, 20, 1e2, 1e3]},
    "beta-TC-VAE": {"beta": [1e-3, 1e-2, 1e-1, 0.5, 1, 2, 5, 10, 50, 1e2]},
    "FactorVAE": {"gamma": [1, 2, 5, 10, 15, 20, 30, 40, 50, 100]},
    "InfoVAE-IMQ": KERNELS,
    "InfoVAE-RBF": KERNELS,
    "AAE": {"alpha": [1e-3, 1e-2, 1e-1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]},
    "MSSSIM-VAE": {
        "beta": [1e-2, 1e-2, 1e-2, 1e-1, 1e-1, 1e-1, 1, 1, 1, 1],
        "window_size": [3, 5, 11, 5, 3, 11, 11, 5, 3, 15],
    },
    "VAEGAN": {"alpha": [0.3, 0.5, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9, 0.99, 0.999], "l": [3, 3, 3, 3, 2, 4, 3, 3, 3, 3]},
    "AE": {"seed": [*range(10)]},
    "WAE-IMQ": WAE,
    "WAE-RBF": WAE,
    "VQVAE": {
        "K": [128, 256, 512, 512, 512, 512, 512, 512, 1024, 2948],
        "beta": [0.25, 0.25, 0.9, 0.1, 0.5, 0.25, 0.75, 0.25, 0.25, 0.25],
    },
    "RAE-L2": RAE,
    "RAE-GP": RAE,
}
DUPLICATES = {("VAMP", 10): 4, ("VAEGAN", 8): 7, ("VQVAE", 8): 6} | {
    (f"InfoVAE-{kernel}", number): number - 1 for kernel in ("IMQ", "RBF") for number in (8, 10)
}
SKIPPED = {(f"InfoVAE-{kernel}", number) for kernel in ("IMQ", "RBF") for number in (4, 5)}

# how the values of a config follow from the printed ones, on images with 784 values
FROM_PRINTED = {
    "VAMP": lambda p: {"num_components": p["K"]},
    "IWAE": lambda p: {"num_samples": p["L"]},
    "VAE-lin-NF": lambda p: {"flows": spell_out(p["flows"]), "amortized": False},
    "InfoVAE-IMQ": lambda p: {"bandwidth": p["sigma"], "mmd_weight": p["lambda"] - 1, "alpha": 0, "kernel": "imq"},
    "InfoVAE-RBF": lambda p: {"bandwidth": p["sigma"], "mmd_weight": p["lambda"] - 1, "alpha": 0, "kernel": "rbf"},
    "AAE": lambda p: {"adversarial_weight": p["alpha"] / (1 - p["alpha"]), "discriminator_hidden_sizes": [256]},
    "MSSSIM-VAE": lambda p: {"beta": 784 * p["beta"], "window_size": p["window_size"]},
    "VAEGAN": lambda p: {"reconstruction_weight": p["alpha"], "feature_layer": p["l"]},
    "WAE-IMQ": lambda p: {"bandwidth": p["sigma"], "mmd_weight": p["lambda"], "kernel": "imq"},
    "WAE-RBF": lambda p: {"bandwidth": p["sigma"], "mmd_weight": p["lambda"], "kernel": "rbf"},
    "VQVAE": lambda p: {"num_embeddings": p["K"], "commitment_weight": p["beta"], "codebook_update": "ema"},
    "RAE-L2": lambda p: {"embedding_weight": p["beta"], "decoder_penalty_weight": p["lambda"]},
    "RAE-GP": lambda p: {"embedding_weight": p["beta"], "decoder_penalty_weight": p["lambda"]},
}
WITHOUT_LIKELIHOOD = ("MSSSIM-VAE", "VAEGAN")


def spell_out(flows):
    """The steps of "PRP" or "10P"."""
    if flows[0].isdigit():
        flows = int(flows[:-1]) * flows[-1]
    return [{"P": "planar", "R": "radial"}[letter] for letter in flows]


def values_for(method, configuration, input_shape=(1, 28, 28), latent_dim=16, network="paper_conv"):
    """All fields of a config, as the plan of a study passes them."""
    return {
        "input_shape": input_shape,
        "latent_dim": latent_dim,
        "encoder_config": network,
        "decoder_config": network,
        **method.resolve_fields(configuration, input_shape),
    }


def test_methods_are_those_of_table_1():
    """In its order, with the groups of section 4.1 and the samplers of Table 7."""
    assert list(PAPER.methods) == list(PRINTED)
    autoencoders = {"AE", "RAE-L2", "RAE-GP", "WAE-IMQ", "WAE-RBF", "VQVAE"}
    for name, method in PAPER.methods.items():
        assert method.groups[0] == ("autoencoder" if name in autoencoders else "variational")
        of_table_7 = ("normal", "gmm", "maf") if name in autoencoders else ("normal", "gmm", "two_stage_vae", "maf")
        assert method.samplers == (("vamp",) if name == "VAMP" else of_table_7)
    disentangling = {name for name, method in PAPER.methods.items() if "disentangling" in method.groups}
    assert disentangling == {"beta-VAE", "beta-TC-VAE", "FactorVAE"}
    assert {name for name, method in PAPER.methods.items() if "adversarial" in method.groups} == {"AAE", "VAEGAN"}
    tables = [8, 9, 10, 11, 12, 13, 14, 15, 15, 16, 17, 18, 19, 19, 20, 21, 21]
    assert [method.table for method in PAPER.methods.values() if method.table] == tables


@pytest.mark.parametrize("name", PRINTED)
def test_entries_equal_the_printed_tables(name):
    configurations = PAPER.methods[name].configurations
    printed = [dict(zip(PRINTED[name], column, strict=True)) for column in zip(*PRINTED[name].values(), strict=True)]
    assert [configuration.printed for configuration in configurations] == printed
    assert [configuration.number for configuration in configurations] == [*range(1, 11)]
    for configuration in configurations:
        key = (name, configuration.number)
        assert configuration.duplicate_of == DUPLICATES.get(key)
        assert (configuration.skip is not None) == (key in SKIPPED)
        if configuration.skip is not None:
            assert "negative weight of the MMD" in configuration.skip
    # an entry is a duplicate if and only if an earlier one prints the same
    repeated = [number for number, column in enumerate(printed, 1) if column in printed[: number - 1]]
    assert repeated == [configuration.number for configuration in configurations if configuration.duplicate_of]


@pytest.mark.parametrize("name", PRINTED)
def test_fields_follow_from_the_printed_values(name):
    method = PAPER.methods[name]
    for configuration in method.configurations:
        fields = method.resolve_fields(configuration, (1, 28, 28))
        expected = FROM_PRINTED.get(name, dict)(configuration.printed)
        expected = {key: value for key, value in expected.items() if key != "seed"}
        assert {key: fields[key] for key in expected} == {
            key: pytest.approx(value) if isinstance(value, float) else value for key, value in expected.items()
        }
        if name not in WITHOUT_LIKELIHOOD:  # the square error without a factor 1/2
            assert fields["observation_std"] == sqrt(0.5)
        assert "seed" not in fields


@pytest.mark.parametrize(
    ("input_shape", "latent_dim", "network"),
    [((1, 28, 28), 16, "paper_conv"), ((3, 32, 32), 256, "paper_resnet"), ((3, 64, 64), 64, "paper_conv")],
    ids=["mnist", "cifar10", "celeba"],
)
def test_every_configuration_builds(input_shape, latent_dim, network):
    """The config of each configuration is valid, and the model of each method's last one is built."""
    num_valid = 0
    for method in PAPER.methods.values():
        for configuration in method.configurations:
            values = values_for(method, configuration, input_shape, latent_dim, network)
            if configuration.skip is not None:
                with pytest.raises(ValueError, match="mmd_weight must be 0 or more, got -0.9"):
                    check_configuration(method, configuration, values)
                continue
            config = check_configuration(method, configuration, values)
            num_valid += 1
        with torch.device("meta"):
            assert AutoGAE.from_config(config).config.latent_dim == latent_dim
    assert num_valid == 190 - len(SKIPPED)


def test_the_loss_of_aae_is_that_of_the_paper_up_to_its_scale():
    """(1 - alpha) times ours is alpha adversarial + (1 - alpha) ||x - x_hat||^2."""
    method = PAPER.methods["AAE"]
    for configuration in method.configurations:
        values = values_for(method, configuration, network="mlp")
        model = AutoGAE.from_config(check_configuration(method, configuration, values))
        alpha = configuration.printed["alpha"]
        assert (1 - alpha) * model.loss_weights()["adversarial"] == pytest.approx(alpha)
    images = torch.rand(3, 1, 28, 28)
    output = model(images)
    square = (images - output.reconstruction).square().flatten(1).sum(1)
    torch.testing.assert_close(output.losses["reconstruction"], square.mean())


def test_values_that_depend_on_the_data():
    grid = [{"beta": {"times_num_values": 0.5}, "seed": 3}]
    content = {"X": {"model": "beta_vae", "fields": {"observation_std": 1, "likelihood": "laplace"}, "grid": grid}}
    method = read_methods(content)["X"]
    (configuration,) = method.configurations
    assert configuration.printed == {"beta": 0.5, "seed": 3}
    fields = method.resolve_fields(configuration, (3, 4, 5), {"observation_std": 2, "beta": 7})
    assert fields == {"observation_std": 2, "likelihood": "laplace", "beta": 30}


def test_long_entries():
    grid = [
        {"beta": 2},
        {"set": {"beta": 3}, "printed": {"b": "three"}, "note": "odd"},
        {"duplicate_of": 2},
        {"set": {"beta": -1}, "skip": "negative"},
    ]
    first, second, third, fourth = read_methods({"X": {"model": "beta_vae", "grid": grid}})["X"].configurations
    assert (first.fields, first.printed, first.note) == ({"beta": 2}, {"beta": 2}, None)
    assert (second.fields, second.printed, second.note) == ({"beta": 3}, {"b": "three"}, "odd")
    assert (third.number, third.fields, third.printed, third.duplicate_of, third.note) == (
        *(3, {"beta": 3}, {"b": "three"}, 2, None),
    )
    assert (fourth.skip, fourth.duplicate_of) == ("negative", None)


def test_a_method_needs_only_a_model():
    method = read_methods({"X": {"model": "vae"}})["X"]
    assert (method.table, method.groups, method.samplers, method.fields) == (None, ("variational", "baseline"), (), {})
    assert [one.fields for one in method.configurations] == [{}]


ERRORS = [
    ({}, r"methods: expected at least one method, got none"),
    ({"X": "vae"}, r"methods\.X: expected a dict with the keys model, .* got 'vae'"),
    ({"X": {}}, r"methods\.X: model is missing"),
    ({"X": {"modle": "vae"}}, r"methods\.X: unknown key 'modle'; did you mean 'model'\?"),
    ({"X": {"model": 3}}, r"methods\.X\.model: expected text, got 3"),
    ({"X": {"model": "vae", "table": True}}, r"methods\.X\.table: expected an integer, got True"),
    ({"X": {"model": "vae", "fields": [1]}}, r"methods\.X\.fields: expected a dict, got \[1\]"),
    ({"X": {"model": "vae", "groups": "flow"}}, r"methods\.X\.groups: expected a list, got 'flow'"),
    ({"X": {"model": "vae", "samplers": [1]}}, r"methods\.X\.samplers: expected a list of names, got 1 in it"),
    ({"X": {"model": "vae", "samplers": ["a", "a"]}}, r"methods\.X\.samplers: 'a' is listed 2 times"),
    ({"X": {"model": "vae", "symbols": {"beta": 1}}}, r"methods\.X\.symbols\.beta: expected text, got 1"),
    ({"X": {"model": "vae", "grid": []}}, r"methods\.X\.grid: expected at least one configuration"),
    ({"X": {"model": "vae", "grid": {"beta": 1}}}, r"methods\.X\.grid: expected a list"),
    ({"X": {"model": "vae", "grid": [1]}}, r"methods\.X\.grid\[1\]: expected a dict of fields, got 1"),
    (
        {"X": {"model": "vae", "grid": [{}, {"set": {"beta": 1}, "skpi": "no"}]}},
        r"methods\.X\.grid\[2\]: unknown key 'skpi'; did you mean 'skip'\?",
    ),
    ({"X": {"model": "vae", "grid": [{"skip": 1}]}}, r"methods\.X\.grid\[1\]\.skip: expected text, got 1"),
    ({"X": {"model": "vae", "grid": [{"seed": 0.5}]}}, r"methods\.X\.grid\[1\]\.seed: expected an integer, got 0\.5"),
    (
        {"X": {"model": "vae", "grid": [{"beta": 1}, {"beta": 2}, {"beta": 1}]}},
        r"methods\.X\.grid\[3\]: it equals grid\[1\]; write \{duplicate_of: 1\}",
    ),
    ({"X": {"model": "vae", "grid": [{"duplicate_of": 1}]}}, r"grid\[1\]\.duplicate_of: .* earlier .*, got 1"),
    (
        {"X": {"model": "vae", "grid": [{}, {"duplicate_of": 1}, {"duplicate_of": 2}]}},
        r"methods\.X\.grid\[3\]\.duplicate_of: grid\[2\] is a duplicate too; name 1",
    ),
    (
        {"X": {"model": "vae", "grid": [{}, {"duplicate_of": 1, "set": {}}]}},
        r"methods\.X\.grid\[2\]: a duplicate has the fields of its original; remove set",
    ),
    (
        {"X": {"model": "vae", "grid": [{"beta": {"times_num_values": "many"}}]}},
        r"methods\.X\.grid\[1\]\.beta\.times_num_values: expected a number, got 'many'",
    ),
    (
        {"X": {"model": "vae", "fields": {"beta": {"times_num_values": 1, "plus": 2}}}},
        r"methods\.X\.fields\.beta: unknown key 'plus'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), ERRORS)
def test_errors_name_the_place(content, message):
    with pytest.raises(ValueError, match=message):
        read_methods(content)


def test_errors_of_configs_name_the_entry():
    grid = [{"beta": 1}, {"beta": -1}, {"bta": 1}, {"beta": "high"}]
    methods = read_methods({"X": {"model": "beta_vae", "grid": grid}, "Y": {"model": "btea_vae"}})
    messages = [
        r"^methods\.X\.grid\[2\]: beta must be 0 or more, got -1$",
        r"^methods\.X\.grid\[3\]: BetaVAEConfig has no field 'bta'; did you mean 'beta'\?",
        r"^methods\.X\.grid\[4\]: .*high",
    ]
    for configuration, message in zip(methods["X"].configurations[1:], messages, strict=True):
        with pytest.raises(ValueError, match=message):
            check_configuration(methods["X"], configuration, configuration.fields)
    with pytest.raises(ValueError, match=r"^methods\.Y\.model: .*'btea_vae'; did you mean 'beta_vae'"):
        check_configuration(methods["Y"], methods["Y"].configurations[0], {})


def test_grid_files(tmp_path):
    assert BUILTIN_GRIDS == ("paper",)
    with pytest.raises(ValueError, match="there is no grid 'papr', .* did you mean 'paper'"):
        load_grid("papr")
    file = tmp_path / "own.yaml"
    file.write_text("source: ours\nmethods:\n  X: {model: beta_vae, grid: [{beta: 1e-3}]}\n")
    grid = load_grid(file)
    assert grid.source == "ours" and grid.methods["X"].configurations[0].fields == {"beta": 0.001}
    for text, message in [
        ("method: {}\n", "own.yaml: unknown key 'method'; did you mean 'methods'"),
        ("source: 1\nmethods: {X: {model: vae}}\n", "own.yaml.source: expected text, got 1"),
        ("methods: {X: {model: vae, fields: 1}}\n", r"own.yaml: methods\.X\.fields: expected a dict, got 1"),
        ("source: ours\n", "own.yaml: methods is missing"),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_grid(file)


def test_reading_imports_no_torch():
    code = "import sys, gae_hub.study.method_grids as m; m.load_grid('paper'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
