"""Made-up results of studies, the same at every call: for tests of tables, figures, findings and pages.

`synthetic_results()` is a whole benchmark of 1,140 cells; `make_cell` and `make_results` build small ones by hand.
"""

import math
import random
import zlib
from pathlib import Path

from gae_hub.study.results import CellResult, StudyResults

AUTOENCODER = "autoencoder"


def _fields(*names):
    """Turns tuples of values into configurations."""
    return lambda *values: [dict(zip(names, value, strict=True)) for value in values]


def _each(name, *values):
    return [{name: value} for value in values]


SEEDS = _each("seed", *range(10))
INFO_VAE = _fields("bandwidth", "mmd_weight")(
    (0.01, 9), (0.1, 9), (0.5, 9), (0.01, -0.99), (0.1, -0.9), (1, 9), (100, 99), (100, 99), (10, 9), (10, 9)
)  # fmt: skip
WAE = _fields("bandwidth", "mmd_weight")(
    (0.01, 1), (0.1, 1), (0.5, 1), (0.01, 0.01), (0.1, 0.1), (1, 1), (1, 10), (1, 100), (2, 1), (5, 1)
)
RAE = [
    (1e-6, 1e-3), (1e-4, 1e-3), (1e-3, 1e-6), (1e-3, 1e-4), (1e-3, 1e-2),
    (1e-3, 0.1), (1e-3, 1.0), (1e-2, 1e-3), (0.1, 1e-3), (1.0, 1e-3),
]  # fmt: skip
GRIDS = {
    "VAE": SEEDS,
    "VAMP": _each("num_components", 10, 20, 30, 500, 100, 150, 200, 250, 300, 500),
    "IWAE": _each("num_samples", 2, 3, 4, 5, 6, 7, 8, 9, 10, 12),
    "VAE-lin-NF": _each(
        "flows", "PPPPP", "RRRRR", "PRPRP", "10P", "15P", "20P", "30P", "PRPRPRPRPR", "PPP", "PRPRPRPPPR"
    ),
    "VAE-IAF": _fields("num_flows", "num_hidden_layers", "hidden_size")(
        (1, 2, 32), (2, 2, 32), (5, 2, 32), (10, 2, 32), (20, 2, 32),
        (4, 2, 32), (4, 4, 32), (4, 6, 32), (4, 2, 64), (4, 2, 128),
    ),
    "beta-VAE": _each("beta", 0.001, 0.01, 0.1, 0.5, 2, 5, 10, 20, 100, 1000),
    "beta-TC-VAE": _each("beta", 0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 50, 100),
    "FactorVAE": _each("gamma", 1, 2, 5, 10, 15, 20, 30, 40, 50, 100),
    "InfoVAE-IMQ": INFO_VAE,
    "InfoVAE-RBF": INFO_VAE,
    "AAE": _each("adversarial_weight", 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999),
    "MSSSIM-VAE": _fields("beta", "window_size")(
        (0.01, 3), (0.01, 5), (0.01, 11), (0.1, 5), (0.1, 3), (0.1, 11), (1, 11), (1, 5), (1, 3), (1, 15)
    ),
    "VAEGAN": _fields("adversarial_weight", "feature_layer")(
        (0.7, 3), (0.5, 3), (0.3, 3), (0.2, 3), (0.2, 2), (0.2, 4), (0.1, 3), (0.1, 3), (0.01, 3), (0.001, 3)
    ),
    "AE": SEEDS,
    "WAE-IMQ": WAE,
    "WAE-RBF": WAE,
    "VQVAE": _fields("num_embeddings", "commitment_weight")(
        (128, 0.25), (256, 0.25), (512, 0.9), (512, 0.1), (512, 0.5),
        (512, 0.25), (512, 0.75), (512, 0.25), (1024, 0.25), (2048, 0.25),
    ),
    "RAE-L2": _fields("embedding_weight", "decoder_penalty_weight")(*RAE),
    "RAE-GP": _fields("embedding_weight", "gradient_penalty_weight")(*RAE),
}  # fmt: skip
# model, table, groups, and on MNIST: MSE x 1000, FID of the prior and of a mixture, accuracy of classification and of
# clustering, seconds of training
METHODS = {
    "VAE": ("vae", None, ["variational", "baseline"], 17.0, 28.5, 26.9, 0.867, 0.70, 100),
    "VAMP": ("vamp", 8, ["variational", "prior"], 17.5, 64.2, 64.2, 0.921, 0.67, 140),
    "IWAE": ("iwae", 9, ["variational", "bound"], 15.0, 29.0, 28.4, 0.879, 0.64, 300),
    "VAE-lin-NF": ("vae_lin_nf", 10, ["variational", "bound", "flow"], 16.8, 29.3, 28.4, 0.860, 0.65, 120),
    "VAE-IAF": ("vae_iaf", 11, ["variational", "bound", "flow"], 16.7, 27.5, 27.0, 0.883, 0.75, 130),
    "beta-VAE": ("beta_vae", 12, ["variational", "disentangling"], 5.6, 21.4, 9.2, 0.912, 0.68, 101),
    "beta-TC-VAE": ("beta_tc_vae", 13, ["variational", "disentangling"], 6.8, 21.3, 11.6, 0.909, 0.66, 125),
    "FactorVAE": ("factor_vae", 14, ["variational", "disentangling"], 17.3, 27.0, 26.9, 0.861, 0.51, 350),
    "InfoVAE-IMQ": ("info_vae", 15, ["variational", "distance", "kernel"], 16.7, 28.3, 27.7, 0.863, 0.68, 150),
    "InfoVAE-RBF": ("info_vae", 15, ["variational", "distance", "kernel"], 16.6, 27.5, 26.7, 0.859, 0.66, 145),
    "AAE": ("aae", 16, ["variational", "distance", "adversarial"], 5.6, 16.8, 9.3, 0.933, 0.74, 160),
    "MSSSIM-VAE": ("msssim_vae", 17, ["variational", "distance"], 32.6, 26.7, 27.2, 0.783, 0.49, 400),
    "VAEGAN": ("vae_gan", 18, ["variational", "distance", "adversarial"], 15.5, 8.7, 6.3, 0.923, 0.77, 600),
    "AE": ("ae", None, ["autoencoder", "baseline"], 5.47, 26.7, 9.3, 0.938, 0.735, 90),
    "WAE-IMQ": ("wae_mmd", 19, ["autoencoder", "distance", "kernel"], 5.55, 18.9, 8.6, 0.936, 0.72, 140),
    "WAE-RBF": ("wae_mmd", 19, ["autoencoder", "distance", "kernel"], 5.53, 21.2, 9.2, 0.937, 0.74, 135),
    "VQVAE": ("vq_vae", 20, ["autoencoder", "discrete"], 5.59, 28.2, 9.1, 0.934, 0.726, 110),
    "RAE-L2": ("rae_l2", 21, ["autoencoder", "prior"], 5.24, 25.0, 9.1, 0.947, 0.741, 95),
    "RAE-GP": ("rae_gp", 21, ["autoencoder", "prior"], 5.31, 27.1, 9.7, 0.941, 0.729, 180),
}
DATASETS = {"mnist": (16, 1.0, 1.0, 1.0), "cifar10": (256, 0.95, 6.0, 0.45), "celeba": (64, 0.7, 2.2, None)}
NETWORKS = {"convnet": (1.0, 1.0), "resnet": (1.05, 1.01), "mlp": (1.2, 0.99)}
SIZES = {
    "mnist": {"train": 50000, "validation": 10000, "test": 10000},
    "cifar10": {"train": 40000, "validation": 10000, "test": 10000},
    "celeba": {"train": 162770, "validation": 19867, "test": 19962},
}
TASKS = {
    "reconstruction": {},
    "generation": {"num_samples": 10000, "metrics": ["fid", "inception_score", "kid", "prdc"]},
    "classification": {"num_probes": 20},
    "clustering": {"num_fits": 100},
    "interpolation": {"num_pairs": 5, "num_steps": 10},
    "likelihood": {"num_samples": 100, "num_images": 1000},
}
SAMPLERS = ["normal", "gmm", "two_stage_vae", "maf", "vamp"]
BETTER_HIGH = {"inception_score", "precision", "recall", "density", "coverage", "accuracy", "log_likelihood"}


def method_samplers(name):
    """Samplers of a method in Table 7."""
    if name == "VAMP":
        return ["vamp"]
    return ["normal", "gmm", "maf"] if AUTOENCODER in METHODS[name][2] else ["normal", "gmm", "two_stage_vae", "maf"]


def make_passport(name, value, **changes):
    """Passport of a number, as the metrics write it."""
    task, *_, metric, split = name.split("/") if name.count("/") > 1 else (*name.split("/"), "train")
    passport = {"metric": metric, "seed": 0, "library": "gae_hub 0.0"}
    if metric in ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage"):
        passport |= {"extractor": "trained", "extractor_sha256": "ab" * 32, "num_samples": 10000}
        passport |= {"num_references": 10000, "same_count_interval": [value * 0.99, value * 1.01]}
    elif metric == "mse":
        passport |= {"num_samples": 10000, "interval": [value * 0.995, value * 1.005]}
    elif metric == "accuracy":
        passport |= {"refit_std": 0.002, "num_samples": 10000}
    return passport | changes


def make_cell(method="VAE", configuration=1, numbers=None, **changes):
    """One cell. A done cell has passports of its numbers."""
    numbers = {} if numbers is None else numbers
    values = {
        "fields": {},
        "dataset": "mnist",
        "network": "convnet",
        "latent_dim": 16,
        "seed": 0,
        "state": "done",
        "facts": {
            "train_seconds": numbers.get("training/seconds", 100.0),
            "num_epochs": 100,
            "num_parameters": 10_000,
        },
        "folder": None,
        "error": None,
    } | changes
    values.setdefault("passports", {name: make_passport(name, value) for name, value in numbers.items()})
    return CellResult(method=method, configuration=configuration, numbers=numbers, **values)


def make_results(cells, **changes):
    """A study of the given cells. Methods, data sets, networks and dimensions are those of the cells."""
    cells = list(cells)
    known = {cell.method for cell in cells}
    values = {
        "name": "made-up",
        "title": "Made-up results",
        "methods": {
            name: {"model": row[0], "table": row[1], "groups": row[2], "samplers": method_samplers(name)}
            for name, row in METHODS.items()
            if name in known
        },
        "datasets": list(dict.fromkeys(cell.dataset for cell in cells)),
        "networks": list(dict.fromkeys(cell.network for cell in cells)),
        "samplers": SAMPLERS,
        "tasks": TASKS,
        "settings": {
            "training": {
                name: {"recipe": "paper", "num_train_epochs": 50 if name == "celeba" else 100} for name in SIZES
            },
            "extractor": "trained",
            "seeds": sorted({cell.seed for cell in cells}),
            "sizes": SIZES,
            "hardware": "2 CPU cores",
            "versions": {"gae_hub": "0.0", "torch": "2.9"},
        },
    } | changes
    dims = {d: sorted({cell.latent_dim for cell in cells if cell.dataset == d}) for d in values["datasets"]}
    values.setdefault("latent_dims", dims)
    return StudyResults(cells=cells, **values)


def _noise(*key):
    """A number in [0, 1) that depends on the key only."""
    return random.Random(zlib.crc32(repr(key).encode())).random()


def _wiggle(scale, *key):
    return 1 + scale * (2 * _noise(*key) - 1)


def synthetic_numbers(method, configuration, dataset, network, latent_dim, seed):
    """Numbers of a done cell. Each configuration has its own quality; validation and test differ by some per cent."""
    model, _, groups, mse, fid_normal, fid_gmm, classified, clustered, seconds = METHODS[method]
    fields = GRIDS[method][configuration - 1]
    base_dim, mse_factor, fid_factor, accuracy_factor = DATASETS[dataset]
    worse, labels_better = NETWORKS[network]
    key = (method, configuration, dataset, network, latent_dim, seed)
    quality = 1 + 0.3 * _noise(method, configuration, dataset)  # 1 is the best configuration's
    if model in ("beta_vae", "beta_tc_vae"):  # a larger beta reconstructs worse
        quality = 1 + 0.35 * math.log10(fields["beta"] / 0.001)
    if model == "iwae":  # more samples reconstruct better and train slower
        quality, seconds = 1.3 - 0.03 * configuration, seconds * (0.4 + 0.12 * configuration)
    far = abs(math.log2(latent_dim / base_dim))  # distance from the data set's own dimension
    gain = 0.85 ** (math.log2(latent_dim / base_dim) if AUTOENCODER in groups else 0)
    numbers = {}

    def put(name, value, split_scale=0.02):
        for split in ("validation", "test"):
            numbers[f"{name}/{split}"] = value * _wiggle(split_scale, name, split, *key)

    put("reconstruction/mse", mse / 1000 * mse_factor * worse * quality * gain)
    put("reconstruction/fid", (0.4 * fid_normal + 4) * fid_factor * worse * quality)
    drift = 1 + far * (0.25 if AUTOENCODER in groups else 0.03)
    for sampler in method_samplers(method):
        fid = {"normal": fid_normal, "gmm": fid_gmm, "maf": fid_gmm * 1.03, "two_stage_vae": 1.5 * fid_gmm}
        value = fid.get(sampler, fid_normal) * fid_factor * worse * drift * (0.5 + 0.5 * quality)
        put(f"generation/{sampler}/fid", value)
        put(f"generation/{sampler}/kid", value / 1000)
        put(f"generation/{sampler}/inception_score", 1 + 8 / (1 + value / 20))
        for metric, scale in {"precision": 0.9, "recall": 0.8, "density": 1.1, "coverage": 0.95}.items():
            put(f"generation/{sampler}/{metric}", scale / (1 + value / 100), 0.01)
    if accuracy_factor is not None:
        accuracy = classified * accuracy_factor * labels_better / (0.8 + 0.2 * quality)
        put("classification/accuracy", min(accuracy, 0.99), 0.005)
        numbers["classification/accuracy_std/test"] = 0.0005 * _wiggle(0.5, "probes", *key)
        value = min(clustered * accuracy_factor * labels_better / (0.8 + 0.2 * quality), 0.95)
        for split in ("validation", "train"):
            numbers[f"clustering/accuracy/{split}"] = value * _wiggle(0.01, "clustering", split, *key)
        numbers["clustering/accuracy_std/train"] = 0.015 * _wiggle(0.5, "fits", *key)
    if AUTOENCODER not in groups and model not in ("aae", "vae_gan", "msssim_vae"):
        numbers["likelihood/log_likelihood/test"] = -100 * quality * _wiggle(0.02, "likelihood", *key)
    numbers["training/seconds"] = seconds * (3 if network == "resnet" else 1) * _wiggle(0.05, "seconds", *key)
    return numbers


def synthetic_results(
    networks=("convnet", "resnet"),
    datasets=("mnist", "cifar10", "celeba"),
    latent_dims=None,
    seeds=(0,),
    num_configurations=10,
    methods=None,
    incomplete=True,
    folder=None,
):
    """A study of 19 methods, 1,140 cells unless told otherwise.

    Args:
        networks: names among `NETWORKS`.
        datasets: names among `DATASETS`.
        latent_dims: numbers of latent dimensions of every data set; each data set's own by default.
        seeds: seeds of each configuration.
        num_configurations: configurations of each method, the first ones of its grid.
        methods: names of the methods; all by default.
        incomplete: let some cells fail (`AAE` 2), wait (`WAE-RBF` 9), run (`WAE-RBF` 10) and be skipped (`InfoVAE` 4
            and 5, whose weight of the MMD is negative).
        folder: folder for the cells' folders, which are not created. None leaves them out.
    """
    cells = []
    dims = {dataset: list(latent_dims or [DATASETS[dataset][0]]) for dataset in datasets}
    places = [(n, d, dim) for n in networks for d in datasets for dim in dims[d]]
    for method in methods or METHODS:
        grid = GRIDS[method][:num_configurations]
        for network, dataset, latent_dim in places:
            for number, fields in enumerate(grid, 1):
                first = grid.index(fields) + 1
                for seed in seeds:
                    state, error = "done", None
                    if incomplete:
                        state, error = _trouble(method, number)
                    numbers, facts = {}, {}
                    if state == "done":
                        numbers = synthetic_numbers(method, first, dataset, network, latent_dim, seed)
                        facts = {
                            "train_seconds": numbers["training/seconds"],
                            "num_epochs": 100,
                            "num_parameters": 1_000_000 + 1000 * latent_dim + len(method),
                            "device": "cpu",
                            "extractor": "trained",
                        }
                    if first != number:
                        facts["duplicate_of"] = first
                    key = (method, first, network, dataset, latent_dim, seed)
                    slug = f"{method.lower()}-{zlib.crc32(repr(key).encode()):08x}"
                    cells.append(
                        make_cell(
                            method,
                            number,
                            numbers,
                            fields=fields,
                            dataset=dataset,
                            network=network,
                            latent_dim=latent_dim,
                            seed=seed,
                            state=state,
                            facts=facts,
                            folder=None if folder is None else Path(folder) / "cells" / slug,
                            error=error,
                        )
                    )
    return make_results(
        cells, name="synthetic", title="Synthetic results", datasets=list(datasets), networks=list(networks)
    )


def _trouble(method, number):
    """State and error of the cells that are not done."""
    if method.startswith("InfoVAE") and number in (4, 5):
        return "skipped", "negative weight of the MMD"
    if method == "AAE" and number == 2:
        return "failed", "FloatingPointError: the loss is NaN at step 120"
    if method == "WAE-RBF" and number in (9, 10):
        return ("waiting" if number == 9 else "running"), None
    return "done", None
