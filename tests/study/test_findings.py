"""Each claim holds for numbers that agree with it, and does not for numbers that do not."""

import pytest
from study.synthetic import make_cell, make_results, synthetic_results

from gae_hub.study.findings import find_findings, findings_markdown

AUTOENCODERS = ["AE", "WAE-IMQ", "VQVAE", "RAE-L2", "RAE-GP"]
VARIATIONAL = ["VAE", "VAMP", "beta-VAE", "beta-TC-VAE", "FactorVAE", "AAE", "VAEGAN", "InfoVAE-RBF", "IWAE"]


def study(number, values, field=None, **changes):
    """Cells with one number, the same on validation and test; a list of values makes a grid of `field`."""
    cells = []
    for method, value in values.items():
        grid = value if isinstance(value, dict) else {1: value}
        for k, (setting, one) in enumerate(grid.items(), 1):
            names = number if isinstance(number, tuple) else (number,)
            ones = one if isinstance(one, tuple) else (one,)
            numbers = {}
            for name, each in zip(names, ones, strict=True):
                base = name.rsplit("/", 1)[0]
                splits = (
                    [name] if name.startswith("training") else [f"{base}/{s}" for s in ("validation", "test", "train")]
                )
                numbers |= dict.fromkeys(splits, each)
            fields = {field: setting} if field else {}
            cells.append(make_cell(method, k, numbers, fields=fields, passports={}, **changes))
    return cells


def verdict(cells, claim, **changes):
    [finding] = [f for f in find_findings(make_results(cells, **changes), paper=[]) if f.claim.startswith(claim)]
    return finding.verdict


def flat(autoencoders, variational, **special):
    values = dict.fromkeys(AUTOENCODERS, autoencoders) | dict.fromkeys(VARIATIONAL, variational)
    return values | {name.replace("_", "-"): value for name, value in special.items()}


MSE, CLASSIFIED, CLUSTERED = "reconstruction/mse/test", "classification/accuracy/test", "clustering/accuracy/train"
FIDS = tuple(f"generation/{sampler}/fid/test" for sampler in ("normal", "gmm", "maf", "two_stage_vae"))
SLOW = dict.fromkeys(("VAE", "AAE"), (6.0, 4.0, 5.0, 9.0, 10.0))


def both(number, values, **changes):
    """Two variational methods with the same numbers."""
    return study(number, {"VAE": values, "IWAE": values}, **changes)


CASES = [
    ("Autoencoder-based methods reconstruct best", study(MSE, flat(0.1, 0.2)), study(MSE, flat(0.2, 0.1))),
    (
        "Regularisation improves",
        study(MSE, {"AE": 0.2, "RAE-L2": 0.1, "RAE-GP": 0.15}),
        study(MSE, {"AE": 0.1, "RAE-L2": 0.1, "RAE-GP": 0.15}),  # equal is not better
    ),
    (
        "With a small beta",
        study(MSE, {"AE": 0.1, "RAE-L2": 0.1, "VAE": 0.5, "beta-VAE": {0.01: 0.15, 10: 0.4}}, "beta"),
        study(MSE, {"AE": 0.1, "RAE-L2": 0.1, "VAE": 0.5, "beta-VAE": {0.01: 0.4, 10: 0.11}}, "beta"),
    ),
    ("A mixture fitted", both(FIDS, (9.0, 8.0, 8.0, 9.0)), both(FIDS, (8.0, 9.0, 8.0, 9.0))),
    ("GMM and MAF", both(FIDS, (9.0, 10.0, 10.9, 9.0)), both(FIDS, (9.0, 10.0, 11.1, 9.0))),
    ("The two-stage VAE", both(FIDS, (9.0, 8.0, 8.0, 9.0)), both(FIDS, (9.0, 8.0, 8.0, 7.0))),
    (
        "beta-VAE and beta-TC-VAE classify",
        study(CLASSIFIED, {"VAE": 0.8, "beta-VAE": 0.9, "beta-TC-VAE": 0.85}),
        study(CLASSIFIED, {"VAE": 0.9, "beta-VAE": 0.8, "beta-TC-VAE": 0.85}),
    ),
    ("Autoencoder-based methods classify", study(CLASSIFIED, flat(0.9, 0.8)), study(CLASSIFIED, flat(0.8, 0.9))),
    (
        "A more flexible prior",
        study(CLASSIFIED, {"VAE": 0.8, "VAMP": 0.9, "AE": 0.91, "RAE-L2": 0.92}),
        study(CLASSIFIED, {"VAE": 0.8, "VAMP": 0.7, "AE": 0.91, "RAE-L2": 0.90}),
    ),
    (
        "Adversarial methods",
        study(CLUSTERED, {"AAE": 0.8, "VAEGAN": 0.9, "WAE-IMQ": 0.7, "VAE": 0.6, "IWAE": 0.5}),
        study(CLUSTERED, {"AAE": 0.5, "VAEGAN": 0.4, "WAE-IMQ": 0.7, "VAE": 0.6, "IWAE": 0.8}),
    ),
    (
        "The VAE equals",
        study(CLUSTERED, {"VAE": 0.6, "beta-VAE": 0.609, "FactorVAE": 0.5}),
        study(CLUSTERED, {"VAE": 0.6, "beta-VAE": 0.62, "FactorVAE": 0.7}),
    ),
    (
        "VAEGAN generates best",
        study((*FIDS, "training/seconds"), {"VAEGAN": (5.0, 3.0, 4.0, 4.0, 90.0)} | SLOW),
        study((*FIDS, "training/seconds"), {"VAEGAN": (5.0, 5.0, 6.0, 6.0, 9.0)} | SLOW),
    ),
    (
        "Flows on the posterior",
        study((*FIDS, "training/seconds"), {n: (5.0, 3.0, 4.0, 4.0, t) for n, t in (("VAE", 5.0), ("VAE-IAF", 10.0))}),
        study((*FIDS, "training/seconds"), {n: (5.0, 3.0, 4.0, 4.0, t) for n, t in (("VAE", 5.0), ("VAE-IAF", 11.0))}),
    ),
    (
        "With more samples IWAE",
        study((MSE, "training/seconds"), {"IWAE": {2: (0.5, 1.0), 4: (0.4, 2.0), 8: (0.3, 4.0)}}, "num_samples"),
        study((MSE, "training/seconds"), {"IWAE": {2: (0.3, 4.0), 4: (0.4, 2.0), 8: (0.5, 1.0)}}, "num_samples"),
    ),
    (
        "Reconstruction degrades",
        study(MSE, {"beta-VAE": {0.1: 0.1, 1: 0.2, 10: 0.3}}, "beta"),
        study(MSE, {"beta-VAE": {0.1: 0.3, 1: 0.2, 10: 0.1}}, "beta"),
    ),
    (
        "Generation from the normal prior needs",
        study((MSE, *FIDS[:1]), {"beta-VAE": {0.1: (0.1, 9.0), 1: (0.2, 5.0), 2: (0.3, 6.0)}}, "beta"),
        study((MSE, *FIDS[:1]), {"beta-VAE": {0.1: (0.1, 5.0), 1: (0.2, 9.0), 2: (0.3, 9.0)}}, "beta"),
    ),
    (
        "Too large a beta",
        study((MSE, CLASSIFIED), {"beta-VAE": {0.1: (0.1, 0.9), 1: (0.2, 0.8), 10: (0.3, 0.1)}}, "beta"),
        study((MSE, CLASSIFIED), {"beta-VAE": {0.1: (0.4, 0.1), 1: (0.2, 0.8), 10: (0.1, 0.9)}}, "beta"),
    ),
]


@pytest.mark.parametrize(("claim", "agreeing", "opposing"), CASES, ids=[case[0] for case in CASES])
def test_verdicts(claim, agreeing, opposing):
    assert verdict(agreeing, claim) == "holds"
    assert verdict(opposing, claim) == "does not hold"
    assert verdict([make_cell("VAE", 1, {})], claim) == "not measured"


def networks(convnet, resnet):
    names = (MSE, CLASSIFIED)
    return both(names, convnet, network="convnet") + both(names, resnet, network="resnet")


def test_networks():
    assert verdict(networks((0.1, 0.8), (0.2, 0.9)), "The ConvNet") == "holds"
    assert verdict(networks((0.1, 0.8), (0.2, 0.9)), "The ResNet") == "holds"
    assert verdict(networks((0.2, 0.9), (0.1, 0.8)), "The ConvNet") == "does not hold"
    assert verdict(networks((0.2, 0.9), (0.1, 0.8)), "The ResNet") == "does not hold"


def dimensions(**curves):
    """Cells at 16, 32 and 64 dimensions, from the MSE and the accuracy of each method."""
    return [
        cell
        for i, dim in enumerate((16, 32, 64))
        for method, (errors, accuracies) in curves.items()
        for cell in study((MSE, CLASSIFIED), {method: (errors[i], accuracies[i])}, latent_dim=dim)
    ]


def test_latent_dimensions():
    depends, steady = ([0.9, 0.5, 0.1], [0.9, 0.5, 0.1]), ([0.21, 0.2, 0.22], [0.5, 0.52, 0.51])
    agreeing = dimensions(AE=depends, VQVAE=depends, VAE=steady, IWAE=steady)
    opposing = dimensions(AE=steady, VQVAE=steady, VAE=depends, IWAE=depends)
    for claim in ("The best latent dimension", "Variational methods are robust"):
        assert verdict(agreeing, claim) == "holds"
        assert verdict(opposing, claim) == "does not hold"


def test_half_of_the_comparisons_is_mixed():
    assert verdict(study(MSE, {"AE": 0.2, "RAE-L2": 0.1, "RAE-GP": 0.3}), "Regularisation") == "mixed"


def test_missing_numbers_are_named():
    [finding] = [f for f in find_findings(make_results([make_cell("VAE", 1, {})]), paper=[]) if "MAF" in f.claim]
    assert finding.verdict == "not measured"
    assert finding.note == (
        "Not measured: generation/gmm/fid/test (VAE); generation/maf/fid/test (VAE); "
        "the study does not have 2 methods of different models, only VAE."
    )


def test_numbers_measured_in_different_ways_are_not_compared():
    cells = study(MSE, flat(0.1, 0.2))
    cells[0].passports["reconstruction/mse/test"] = {"references_fingerprint": "a"}
    cells[1].passports["reconstruction/mse/test"] = {"references_fingerprint": "b"}
    assert verdict(cells, "Autoencoder-based methods reconstruct best") == "not measured"


def test_page_shows_every_claim_and_is_deterministic():
    findings = find_findings(synthetic_results(datasets=("mnist",)), paper=[])
    page = findings_markdown(findings)
    assert page == findings_markdown(find_findings(synthetic_results(datasets=("mnist",)), paper=[]))
    assert all(finding.criterion in page for finding in findings)
    assert all(page.count(finding.claim) == 1 + finding.is_measured for finding in findings)
    assert page.count("**holds**") >= 10 and len({finding.claim for finding in findings}) == len(findings) == 22
