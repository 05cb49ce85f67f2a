"""Each claim holds for numbers that agree with it, and does not for numbers that do not."""

import json
from dataclasses import asdict

import pytest
from study.synthetic import make_cell, make_results, synthetic_results

from gae_hub import AutoGAE
from gae_hub.study.collect import load_results
from gae_hub.study.finding_rules import RULES
from gae_hub.study.findings import find_findings, findings_markdown
from gae_hub.study.folder import StudyFolder
from gae_hub.study.method_groups import FAMILIES, groups_of
from gae_hub.study.outcomes import find_verdict
from gae_hub.study.paper_values import PAPER_URL
from gae_hub.study.plan import StudyPlan

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


# Groups


def find(results, claim, paper=()):
    [finding] = [found for found in find_findings(results, paper=paper) if found.claim.startswith(claim)]
    return finding


RECONSTRUCT = "Autoencoder-based methods reconstruct best"
CLUSTER = "Adversarial methods"


def test_every_model_of_the_library_has_a_family():
    models = [name for name in AutoGAE.names() if AutoGAE.model_class(name).__module__.startswith("gae_hub.models")]
    groups = {model: groups_of(model) for model in models}
    assert all(len(set(found) & set(FAMILIES)) == 1 for found in groups.values()), groups
    assert groups_of("a_custom_model") == ()


def test_written_groups_are_added_and_a_written_family_replaces_the_models():
    assert groups_of("vae", ["mine"]) == ("mine", "variational", "baseline")
    assert groups_of("vq_vae", ["variational"]) == ("variational", "discrete")
    assert groups_of("rae_l2", ["autoencoder"]) == ("autoencoder", "prior")
    for model, written in (("vae", ["mine"]), ("vq_vae", ["variational"]), ("iwae", [])):  # plans hold resolved groups
        assert groups_of(model, groups_of(model, written)) == groups_of(model, written)


def test_methods_written_out_have_groups_also_in_older_folders(tmp_path):
    """A folder whose plan names only some groups, as the first version of studies wrote them."""
    names = {"AE": "ae", "WAE": "wae_mmd", "RAE": "rae_l2", "VAE": "vae", "beta-VAE": "beta_vae"}
    methods = {name: {"model": model, "groups": [], "samplers": [], "table": None} for name, model in names.items()}
    methods["RAE"]["groups"] = ["autoencoder"]
    empty = {"latent_dims": {}, "tasks": {}, "omitted": {}, "settings": {}, "cells": []}
    plan = StudyPlan("old", "Old", methods=methods, datasets=[], networks=[], samplers=[], **empty)
    folder = StudyFolder(tmp_path, "old")
    folder.study.mkdir(parents=True)
    (folder.study / "plan.json").write_text(json.dumps(asdict(plan)))
    found = load_results(folder).methods
    assert {name for name, method in found.items() if "autoencoder" in method["groups"]} == {"AE", "WAE", "RAE"}
    assert {name for name, method in found.items() if "variational" in method["groups"]} == {"VAE", "beta-VAE"}


def test_groups_are_named_with_the_methods_of_this_study():
    finding = find(make_results(study(MSE, {"AE": 0.1, "RAE-L2": 0.1, "VAE": 0.2, "IWAE": 0.2})), RECONSTRUCT)
    assert finding.verdict == "holds"
    scope = "Compared: autoencoder-based methods (AE, RAE-L2; without WAE-IMQ, WAE-RBF, VQVAE, RAE-GP)"
    assert finding.scope.startswith(scope) and "other methods (VAE, IWAE)" in finding.scope
    assert finding.evidence[0]["group"] == "AE, RAE-L2"
    assert f"**holds**, {finding.restriction} |" in findings_markdown([finding])


@pytest.mark.parametrize(
    ("values", "claim", "reason"),
    [
        (
            {"RAE-L2": 0.1, "VAE": 0.2, "IWAE": 0.2},
            RECONSTRUCT,
            "the study does not have 2 autoencoder-based methods of different models, only RAE-L2",
        ),
        ({"WAE-IMQ": 0.1, "WAE-RBF": 0.1, "VAE": 0.2, "IWAE": 0.2}, RECONSTRUCT, "only WAE-IMQ, WAE-RBF"),
        ({"AE": 0.1, "RAE-L2": 0.1, "VAE": 0.2}, RECONSTRUCT, "numbers of at least 2 other methods"),
        ({"WAE-IMQ": 0.9, "RAE-L2": 0.9, "VAE": 0.2, "IWAE": 0.2}, CLUSTER, "no adversarial method"),
        ({"AAE": 0.9, "VAEGAN": 0.9, "VAE": 0.2, "IWAE": 0.2}, CLUSTER, "no alternative to the KL regularisation"),
        (
            {"VAE": 0.9, "beta-VAE": 0.2},
            "The VAE equals",
            "2 disentangling methods of different models, only beta-VAE",
        ),
    ],
)
def test_a_group_without_enough_members_is_not_judged(values, claim, reason):
    finding = find(make_results(study((MSE, CLUSTERED), {name: (x, x) for name, x in values.items()})), claim)
    assert finding.verdict == "not measured" and reason in finding.note, finding.note


def test_samplers_are_compared_for_two_models_or_more():
    finding = find(make_results(study(FIDS, {"VAE": (9.0, 8.0, 8.0, 9.0)})), "A mixture fitted")
    assert finding.verdict == "not measured" and "2 variational methods of different models" in finding.note


def test_a_sampler_or_network_that_the_study_lacks_is_the_reason():
    results = make_results(both(FIDS, (9.0, 8.0, 8.0, 9.0)), samplers=["normal", "gmm"])
    assert find(results, "GMM and MAF").note == "Not measured: no sampler maf."
    assert find(results, "The ConvNet").note.startswith("Not measured: no network resnet.")


# Configurations


BETA_CLAIMS = ("Reconstruction degrades", "Generation from the normal prior needs", "Too large a beta")


@pytest.mark.parametrize("claim", BETA_CLAIMS)
def test_beta_claims_need_three_values(claim):
    two = study((MSE, *FIDS[:1]), {"beta-VAE": {0.1: (0.1, 9.0), 4: (0.2, 5.0)}}, "beta")
    finding = find(make_results(two), claim)
    assert finding.verdict == "not measured" and "at 3 values of beta (beta-VAE has 2)" in finding.note
    assert "beta_tc_vae" not in finding.note
    three = study((MSE, *FIDS[:1]), {"beta-VAE": {0.1: (0.1, 9.0), 4: (0.2, 5.0), 9: (0.3, 8.0)}}, "beta")
    finding = find(make_results(three), claim)
    assert finding.verdict in ("holds", "mixed") and finding.left_out == ("beta-TC-VAE",)


@pytest.mark.parametrize("claim", BETA_CLAIMS)
def test_a_study_without_beta_methods_is_told_so(claim):
    assert find(make_results(both(MSE, 0.1)), claim).note == "Not measured: no beta-VAE or beta-TC-VAE."


def test_betas_that_are_not_small_or_not_large_decide_nothing():
    values = {"AE": 0.1, "RAE-L2": 0.1, "VAE": 0.5, "beta-VAE": {2: 0.6, 4: 0.7, 8: 0.8}}
    finding = find(make_results(study(MSE, values, "beta")), "With a small beta")
    assert finding.verdict == "not measured" and "a beta below 1 (beta-VAE)" in finding.note
    small = make_results(study(MSE, {"beta-VAE": {0.1: 0.1, 0.2: 0.2, 0.4: 0.3}}, "beta"))
    assert "a beta above 1 (beta-VAE)" in find(small, "Too large a beta").note


def test_fields_are_those_of_the_config_whatever_tables_call_them():
    """The paper's grid prints `num_samples` as L."""
    cells = study((MSE, "training/seconds"), {"IWAE": {2: (0.5, 1.0), 4: (0.4, 2.0), 8: (0.3, 4.0)}}, "L")
    for cell in cells:
        cell.facts["config"] = {"num_samples": cell.fields["L"]}
    assert verdict(cells, "With more samples IWAE") == "holds"


def test_times_of_models_that_trained_together_are_not_compared():
    numbers = {"VAE": (5.0, 3.0, 4.0, 4.0, 5.0), "VAE-IAF": (5.0, 3.0, 4.0, 4.0, 50.0)}
    cells = study((*FIDS, "training/seconds"), numbers)
    assert verdict(cells, "Flows on the posterior") == "does not hold"
    cells[0].facts["trained_together"] = 10
    finding = find(make_results(cells), "Flows on the posterior")
    assert finding.verdict == "not measured" and "trained alone (VAE)" in finding.note


# Several seeds


def seeds(number, *values):
    return [cell for seed, one in enumerate(values) for cell in study(number, one, seed=seed)]


def test_differences_within_the_spread_of_seeds_are_undecided():
    claim = "beta-VAE and beta-TC-VAE classify"
    clear = seeds(CLASSIFIED, *({"VAE": 0.8 + e, "beta-VAE": 0.9 - e} for e in (0.0, 0.001, 0.002)))
    assert verdict(clear, claim) == "holds"
    opposite = seeds(CLASSIFIED, *({"VAE": 0.9 + e, "beta-VAE": 0.8 - e} for e in (0.0, 0.001, 0.002)))
    assert verdict(opposite, claim) == "does not hold"
    noisy = seeds(CLASSIFIED, {"VAE": 0.9, "beta-VAE": 0.7}, {"VAE": 0.6, "beta-VAE": 0.8})
    finding = find(make_results(noisy), claim)
    assert (finding.verdict, finding.count) == ("undecided", "0 of 1 comparison agrees, 1 is undecided")
    assert "| undecided |" in findings_markdown([finding])


def test_groups_and_ranks_within_the_spread_of_seeds_are_undecided():
    first, second = flat(0.1, 0.2), flat(0.2, 0.11)
    assert verdict(seeds(MSE, first, second), RECONSTRUCT) == "undecided"
    assert verdict(seeds(MSE, first, flat(0.1, 0.21)), RECONSTRUCT) == "holds"
    rising, falling = ({"beta-VAE": dict(zip((0.1, 1, 10), order, strict=True))} for order in ((1, 2, 3), (3, 1, 2)))
    cells = [cell for seed, one in enumerate((rising, falling)) for cell in study(MSE, one, "beta", seed=seed)]
    assert verdict(cells, "Reconstruction degrades") == "undecided"


@pytest.mark.parametrize(
    ("agree", "undecided", "expected"),
    [
        *[(3, 0, "holds"), (3, 1, "holds"), (2, 2, "undecided"), (2, 0, "mixed"), (2, 1, "undecided")],
        *[(1, 0, "does not hold"), (0, 1, "does not hold"), (0, 2, "undecided"), (0, 4, "undecided")],
    ],
)
def test_undecided_comparisons_count_as_neither(agree, undecided, expected):
    assert find_verdict([{"agree": agree, "undecided": undecided, "compared": 4}]) == expected


# The paper's own tables


def test_verdicts_of_the_paper_do_not_depend_on_the_study():
    whole, small = synthetic_results(datasets=("mnist",)), make_results(both(MSE, 0.1))
    verdicts = [[finding.paper_verdict for finding in find_findings(results)] for results in (whole, small)]
    assert verdicts[0] == verdicts[1] and verdicts[0].count("holds") >= 7
    assert dict(zip([rule.claim for rule in RULES], verdicts[0], strict=True))[RECONSTRUCT] == "holds"


def test_page_names_the_paper_and_folds_what_is_not_measured():
    findings = find_findings(make_results(study(MSE, {"AE": 0.2, "RAE-L2": 0.1})))
    page = findings_markdown(findings)
    overview, _, rest = page.partition("\n## ")
    assert page.count(PAPER_URL) == 1 and PAPER_URL in overview
    assert overview.count("\n| ") == 3  # headings, rule, and the only claim that is measured
    assert "21 claims of the paper are not measured" in overview and rest.count("\n- **") == 21
