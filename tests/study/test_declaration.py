"""Study files: what they declare, and an error with file, place and nearest name for everything that does not fit."""

import pytest
from tiny_study import declare, tiny, write_study

from gae_hub.study.declaration import BUILTIN_STUDIES, load_study, read_with_base
from gae_hub.study.runner import run_study

MLP = {"encoder_config": "mlp", "decoder_config": "mlp"}
DIGITS = {"dataset": "digits"}


def expect(pattern, **changes):
    """The settings with these changes raise ValueError; the message names the file."""
    with pytest.raises(ValueError, match=pattern) as caught:
        declare(tiny(**changes))
    assert str(caught.value).startswith("s.yaml: ")


# Built-in studies


@pytest.mark.parametrize("name", BUILTIN_STUDIES)
def test_builtin_studies(name):
    """Each has its own name, a title, and at least one of everything."""
    study = load_study(name)
    assert study.name == ("my-study" if name == "template" else name)
    assert study.title and study.data and study.networks and study.methods and study.tasks


def test_paper():
    """The study of the paper: 1,140 cells with its samplers and tasks."""
    study = load_study("paper")
    num = sum(len(method.configurations) for method in study.methods.values())
    assert num * len(study.data) * len(study.networks) == 1140
    assert {one.name: one.latent_dim for one in study.data.values()} == {"mnist": 16, "cifar10": 256, "celeba": 64}
    assert study.data["celeba"].training == {"num_train_epochs": 50, "learning_rate": 1e-3}
    assert list(study.samplers) == ["normal", "gmm", "vamp", "two_stage_vae", "maf"]
    assert study.tasks["classification"].num_probes == 20 and study.tasks["clustering"].num_fits == 100
    assert study.tasks["generation"].num_samples == 10_000


@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
@pytest.mark.parametrize("network", ["convnet", "resnet"])
def test_parts_of_the_paper(data, network):
    """A part differs from the whole only by its name, title, data and networks."""
    whole, part = load_study("paper"), load_study(f"paper-{data}-{network}")
    assert list(part.data) == [data] and list(part.networks) == [network]
    assert part.data[data] == whole.data[data] and part.networks[network] == whole.networks[network]
    for name in ("methods", "training", "seeds", "samplers", "tasks", "extractor", "hours"):
        assert getattr(part, name) == getattr(whole, name)


# Names that do not exist


@pytest.mark.parametrize(
    ("pattern", "changes"),
    [
        (r"unknown setting 'sampler'; did you mean 'samplers'", {"sampler": {}}),
        (
            r"data\.d: unknown setting 'latent_dims'; did you mean 'latent_dim'",
            {"data": {"d": {**DIGITS, "latent_dims": 3}}},
        ),
        (r"data\.d: unknown setting 'size'", {"data": {"d": {**DIGITS, "size": 8}}}),
        (r"data\.d: unknown setting 'num_tran'; did you mean 'num_train'", {"data": {"d": {**DIGITS, "num_tran": 3}}}),
        (
            r"data\.d: training: unknown setting 'learning_rat'; did you mean 'learning_rate'",
            {"data": {"d": {**DIGITS, "training": {"learning_rat": 1}}}},
        ),
        (
            r"networks\.n: unknown setting 'encoder'; did you mean 'encoder_config'",
            {"networks": {"n": {"encoder": "mlp", "decoder_config": "mlp"}}},
        ),
        (
            r"networks\.n\.fields: unknown setting 'VQ-VAE'; did you mean 'VQVAE'",
            {"networks": {"n": {**MLP, "fields": {"VQ-VAE": {"beta": 1}}}}},
        ),
        (r"methods\.VAE: unknown key 'modl'; did you mean 'model'", {"methods": {"VAE": {"modl": "vae"}}}),
        (
            r"methods\.VAE\.grid\[1\]: unknown key 'st'; did you mean 'set'",
            {"methods": {"VAE": {"model": "vae", "grid": [{"st": {}, "note": "x"}]}}},
        ),
        (r"methods: unknown setting 'onyl'; did you mean 'only'", {"methods": {"grids": "paper", "onyl": ["VAE"]}}),
        (
            r"methods: training: unknown setting 'VAEE'; did you mean 'VAE'",
            {"methods": {"grids": "paper", "training": {"VAEE": {}}}},
        ),
        (
            r"methods: training: VAE: training: unknown setting 'warmup_step'; did you mean 'warmup_steps'",
            {"methods": {"grids": "paper", "training": {"VAE": {"warmup_step": 3}}}},
        ),
        (
            r"methods\.VAE: training: unknown setting 'learnin_rate'; did you mean 'learning_rate'",
            {"methods": {"VAE": {"model": "vae", "training": {"learnin_rate": 3}}}},
        ),
        (
            r"methods: methods: there is no 'VAEE'; did you mean 'VAE'",
            {"methods": {"grids": "paper", "only": ["VAEE"]}},
        ),
        (
            r"methods\.VAE\.samplers: there is no sampler 'gm'; did you mean 'gmm'",
            {"methods": {"VAE": {"model": "vae", "samplers": ["gm"]}}},
        ),
        (
            r"training: unknown setting 'learning_rat'; did you mean 'learning_rate'",
            {"training": {"learning_rat": 1e-3}},
        ),
        (r"training: there is no recipe 'papr'; did you mean 'paper'", {"training": {"recipe": "papr"}}),
        (
            r"samplers\.g: sampler: .*did you mean 'gaussian_mixture'",
            {"samplers": {"g": {"sampler": "gausian_mixture"}}},
        ),
        (
            r"samplers\.g: unknown setting 'num_component'; did you mean 'num_components'",
            {"samplers": {"g": {"sampler": "gaussian_mixture", "num_component": 3}}},
        ),
        (
            r"samplers\.m: training: unknown setting 'num_train_epoch'; did you mean 'num_train_epochs'",
            {"samplers": {"m": {"sampler": "maf", "training": {"num_train_epoch": 3}}}},
        ),
        (r"tasks: unknown task 'clusterin'; did you mean 'clustering'", {"tasks": {"clusterin": {}}}),
        (
            r"tasks\.clustering: unknown setting 'num_fit'; did you mean 'num_fits'",
            {"tasks": {"clustering": {"num_fit": 3}}},
        ),
        (r"extractor: unknown setting 'num_epochs'; .*num_train_epochs", {"extractor": {"num_epochs": 3}}),
        (r"budget: unknown setting 'hour'; did you mean 'hours'", {"budget": {"hour": 3}}),
        (r"only: unknown setting 'method'; did you mean 'methods'", {"only": {"method": ["VAE"]}}),
        (r"only: data: there is no 'digit'; did you mean 'digits'", {"only": {"data": ["digit"]}}),
        (r"only: networks: there is no 'mpl'; did you mean 'mlp'", {"only": {"networks": ["mpl"]}}),
    ],
)
def test_misspelt_names(pattern, changes):
    """The nearest right name is suggested."""
    expect(pattern, **changes)


def test_unknown_study(tmp_path):
    """Names of studies and paths of files that do not exist."""
    with pytest.raises(ValueError, match="there is no study 'smoek'; did you mean 'smoke'"):
        load_study("smoek")
    with pytest.raises(ValueError, match=r"there is no study file '.*none\.yaml'"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="there is no study file"):
        load_study(tmp_path)  # a folder


# Values


@pytest.mark.parametrize(
    ("pattern", "changes"),
    [
        ("name is missing", {"name": None}),
        ("name: expected a text, got 5", {"name": 5}),
        ("title: expected a text, got an object of type list", {"title": ["x"]}),
        ("data: expected settings by name, got the text 'digits'", {"data": "digits"}),
        (r"data\.d: expected settings by name, got the text 'digits'", {"data": {"d": "digits"}}),
        (r"data\.d: dataset is missing", {"data": {"d": {}}}),
        (r"data\.d: dataset: expected a text, got 3", {"data": {"d": {"dataset": 3}}}),
        (r"data\.d: latent_dim: expected an integer, got 2\.5", {"data": {"d": {**DIGITS, "latent_dim": 2.5}}}),
        (r"data\.d: latent_dim: expected an integer, got True", {"data": {"d": {**DIGITS, "latent_dim": True}}}),
        (r"data\.d: latent_dim: must be 1 or more, got 0", {"data": {"d": {**DIGITS, "latent_dim": 0}}}),
        (r"data\.d: num_test: must be 1 or more, got -1", {"data": {"d": {**DIGITS, "num_test": -1}}}),
        (r"data\.d: channels must be 1, 3 or 4, got 2", {"data": {"d": {**DIGITS, "channels": 2}}}),
        (r"data\.d: normalize must be one of", {"data": {"d": {**DIGITS, "normalize": "unitt"}}}),
        (r"data\.d: load: expected settings by name", {"data": {"d": {**DIGITS, "load": []}}}),
        (
            r"networks\.n: encoder_config: expected a name or a network's config, got 3",
            {"networks": {"n": {"encoder_config": 3}}},
        ),
        (r"networks\.n: decoder_config: expected a name", {"networks": {"n": {"encoder_config": "mlp"}}}),
        (r"networks\.n: fields: expected settings by name", {"networks": {"n": {**MLP, "fields": ["VAE"]}}}),
        (
            r"networks\.n: fields: VAE: expected settings by name, got 3",
            {"networks": {"n": {**MLP, "fields": {"VAE": 3}}}},
        ),
        ("methods is missing", {"methods": None}),
        ("methods: expected the name of a grid file, or methods by name", {"methods": ["VAE"]}),
        (r"methods\.VAE\.model: expected text, got 3", {"methods": {"VAE": {"model": 3}}}),
        (
            "methods: methods: expected a list of names, got the text 'VAE'",
            {"methods": {"grids": "paper", "only": "VAE"}},
        ),
        ("methods: methods: there is no", {"methods": {"grids": "paper", "only": [["VAE"]]}}),
        ("methods: configurations: expected numbers", {"methods": {"grids": "paper", "configurations": 3}}),
        (
            "configurations: VAE: expected numbers of its 10 configurations",
            {"methods": {"grids": "paper", "configurations": {"VAE": 3}}},
        ),
        (
            "configurations: VAE: expected numbers of its 10 configurations",
            {"methods": {"grids": "paper", "configurations": ["1", 2]}},
        ),
        (
            "configurations: VAE: expected numbers of its 10 configurations, got .11",
            {"methods": {"grids": "paper", "configurations": [11]}},
        ),
        (
            "configurations: VAE: expected numbers of its 10 configurations",
            {"methods": {"grids": "paper", "configurations": {"VAE": []}}},
        ),
        ("training: expected settings by name", {"training": [1]}),
        ("training: there is no recipe '3'", {"training": {"recipe": 3}}),
        ("seeds: expected a list of integers", {"seeds": 3}),
        ("seeds: expected a list of integers", {"seeds": [0, True]}),
        ("seeds: expected a list of integers from 0 to 1,000,000", {"seeds": [-1]}),
        ("seeds: a number occurs twice", {"seeds": [0, 1, 0]}),
        ("latent_dims: expected a list of integers of 1 or more", {"latent_dims": [0]}),
        ("latent_dims: a number occurs twice", {"latent_dims": [4, 4]}),
        (r"samplers\.g: .*num_components", {"samplers": {"g": {"sampler": "gaussian_mixture", "num_components": 0}}}),
        (
            r"samplers\.g: .*num_components",
            {"samplers": {"g": {"sampler": "gaussian_mixture", "num_components": "ten"}}},
        ),
        (
            r"samplers\.n: unknown setting 'num_components'",
            {"samplers": {"n": {"sampler": "normal", "num_components": 3}}},
        ),
        (r"tasks\.clustering: num_fits must be 1 or more, got 0", {"tasks": {"clustering": {"num_fits": 0}}}),
        (r"tasks\.classification: num_probes must be an integer", {"tasks": {"classification": {"num_probes": "2"}}}),
        (r"tasks\.interpolation: num_steps must be 2 or more", {"tasks": {"interpolation": {"num_steps": 1}}}),
        (r"tasks\.likelihood: num_images must be 1 or more", {"tasks": {"likelihood": {"num_images": 0}}}),
        (
            r"tasks\.generation: unknown metric 'fidd'; did you mean 'fid'",
            {"tasks": {"generation": {"metrics": ["fidd"]}}},
        ),
        (r"tasks\.generation: metrics must contain 'fid'", {"tasks": {"generation": {"metrics": ["kid"]}}}),
        (r"tasks\.generation: metrics must be a list of names, got 5", {"tasks": {"generation": {"metrics": 5}}}),
        (
            r"tasks\.generation: metrics must be a list of names, got the text",
            {"tasks": {"generation": {"metrics": "fid"}}},
        ),
        (r"tasks\.reconstruction: fid: expected true or false", {"tasks": {"reconstruction": {"fid": "yes"}}}),
        (r"tasks\.clustering: expected settings by name", {"tasks": {"clustering": [1]}}),
        ("extractor: expected 'trained', 'inception'", {"extractor": 3}),
        ("extractor: num_train_epochs: must be above 0", {"extractor": {"num_train_epochs": 0}}),
        ("extractor: batch_size: expected an integer", {"extractor": {"batch_size": "big"}}),
        ("extractor: .*feature_dim", {"extractor": {"feature_dim": -1}}),
        ("extractor: seed: expected a number from 0 to", {"extractor": {"seed": -1}}),
        ("extractor: learning_rate: must be above 0 and finite", {"extractor": {"learning_rate": float("inf")}}),
        ("extractor: expected 'trained', 'inception'", {"extractor": ""}),
        ("seeds: expected a list of integers from 0 to 1,000,000", {"seeds": [2**40]}),
        ("training: num_train_epochs: expected a finite number", {"training": {"num_train_epochs": float("inf")}}),
        ("title: expected text without control characters", {"title": "a\ud800"}),
        ("networks: 'mlp' and 'MLP' differ only by upper and lower case", {"networks": {"mlp": MLP, "MLP": MLP}}),
        (
            "methods: 'x' and 'X' differ only by upper and lower case",
            {"methods": {"x": {"model": "vae"}, "X": {"model": "vae"}}},
        ),
        ("title: expected text without control characters", {"title": "a\x1b[0m"}),
        ("methods: expected a name for each method", {"methods": {" ": {"model": "vae"}}}),
        (
            r"methods\.V\.grid\[1\]\.latent_dim: the study sets it for all methods",
            {"methods": {"V": {"model": "vae", "grid": [{"latent_dim": 2}]}}},
        ),
        (
            r"methods\.V\.fields\.input_shape: the study sets it",
            {"methods": {"V": {"model": "vae", "fields": {"input_shape": [1, 8, 8]}}}},
        ),
        (
            r"methods\.V\.grid\[1\]\.beta: expected a finite number, got inf",
            {"methods": {"V": {"model": "beta_vae", "grid": [{"beta": float("inf")}]}}},
        ),
        (
            r"methods\.V\.grid\[1\]\.seed: expected a number from 0",
            {"methods": {"V": {"model": "vae", "grid": [{"seed": -3}]}}},
        ),
        (
            r"methods\.V\.symbols: .* have the same symbol 'x'",
            {"methods": {"V": {"model": "beta_vae", "symbols": {"beta": "x", "observation_std": "x"}, "grid": [{}]}}},
        ),
        (
            r"data\.digits: load: unknown setting 'splits'",
            {"data": {"digits": {**DIGITS, "load": {"splits": "x"}}}},
        ),
        ("train_together: expected true or false, got 1", {"train_together": 1}),
        ("budget: expected settings by name", {"budget": 8}),
        ("budget: hours: must be above 0, got 0", {"budget": {"hours": 0}}),
        ("budget: hours: must be above 0, got nan", {"budget": {"hours": float("nan")}}),
        ("budget: hours is missing", {"budget": {}}),
        ("data is empty", {"data": {}}),
        ("networks is empty", {"networks": {}}),
        ("methods: expected at least one method", {"methods": {}}),
        ("tasks is empty", {"tasks": {}}),
        ("seeds is empty", {"seeds": []}),
        ("data is empty", {"only": {"data": []}}),
        ("methods is empty", {"only": {"methods": []}}),
    ],
)
def test_wrong_values(pattern, changes):
    """The message says where, and what was expected."""
    expect(pattern, **changes)


@pytest.mark.parametrize("name", ["../x", "a b", "", ".", "a/b", "a\\b", "x" * 81, "a\nb", "é", "a\n"])
def test_hostile_names(name):
    """Names of the study, of data, networks and samplers become folders: they cannot lead elsewhere."""
    expect("name must have 1 to 80 letters", name=name)
    expect("data: a name must have", data={name: DIGITS})
    expect("networks: a name must have", networks={name: MLP})
    expect("samplers: a name must have", samplers={name: {"sampler": "normal"}})


def test_numbers_as_names():
    """A data set may be called 5 or true: YAML's keys become text."""
    assert list(declare(tiny(data={5: DIGITS})).data) == ["5"]
    assert list(declare(tiny(data={5: DIGITS, "d": DIGITS}, only={"data": [5, "d"]})).data) == ["5", "d"]


# Files


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("name: [", "not valid YAML"),
        ("- 1\n- 2\n", "expected one flag per line"),
        ("", "expected one flag per line"),
        ("name: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: &a {b: *a}", "deeper than"),
    ],
)
def test_broken_files(tmp_path, text, pattern):
    """A file that is not valid YAML, or holds no settings."""
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=pattern) as caught:
        load_study(path)
    assert str(path) in str(caught.value)


def test_binary_file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        load_study(path)


def test_yaml_bomb(tmp_path):
    """Ten levels of ten references each, ten billion values, are refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, "name: *a9"]))
    with pytest.raises(ValueError, match="more than 100,000 values"):
        load_study(path)


# extends and only


def test_extends(tmp_path):
    """Settings of the file replace those of the file that it extends, which lies beside it."""
    write_study(tmp_path, tiny(), "base.yaml")
    path = write_study(tmp_path, {"extends": "base.yaml", "name": "mine", "seeds": [3]})
    study = load_study(path)
    assert (study.name, study.seeds) == ("mine", (3,))
    assert study.methods == declare(tiny()).methods


def test_extends_builtin(tmp_path):
    """A built-in study can be extended, and cut with `only`."""
    content = {"extends": "smoke", "name": "s", "only": {"methods": ["AE", "VAE"], "configurations": {"VAE": [2]}}}
    study = load_study(write_study(tmp_path, content))
    assert [one.number for one in study.methods["VAE"].configurations] == [2]
    assert list(study.methods) == ["VAE", "AE"]  # a method without a list of configurations keeps all


@pytest.mark.parametrize("base", ["study.yaml", "./study.yaml", "sub/../study.yaml"])
def test_extends_itself(tmp_path, base):
    """However the file names itself."""
    (tmp_path / "sub").mkdir()
    path = write_study(tmp_path, {"extends": base, "name": "x"})
    with pytest.raises(ValueError, match="extends itself: study.yaml -> study.yaml"):
        load_study(path)


def test_extends_in_a_circle(tmp_path):
    """Three files that extend each other, in two folders."""
    path = write_study(tmp_path, {"extends": "b/b.yaml"}, "a.yaml")
    write_study(tmp_path / "b", {"extends": "c.yaml"}, "b.yaml")
    write_study(tmp_path / "b", {"extends": "../a.yaml"}, "c.yaml")
    with pytest.raises(ValueError, match=r"extends itself: a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml"):
        read_with_base(path)


def test_extends_unknown(tmp_path):
    """The message names the file, the setting and the nearest study."""
    for base, pattern in (("smoek", "did you mean 'smoke'"), ("none.yaml", "no study file"), (3, "expected the name")):
        path = write_study(tmp_path, {"extends": base, "name": "x"})
        with pytest.raises(ValueError, match=pattern) as caught:
            load_study(path)
        assert f"{path}: extends: " in str(caught.value)


def test_only():
    """Parts keep the order of the study, and their settings."""
    study = declare(tiny(only={"methods": ["VQVAE", "VAE"], "configurations": {"VAE": [2], "VQVAE": [1]}}))
    assert [(name, one.number) for name, m in study.methods.items() for one in m.configurations] == [
        ("VAE", 2),
        ("VQVAE", 1),
    ]


# Before anything runs


@pytest.mark.parametrize(
    ("pattern", "changes"),
    [
        (
            r"methods\.VAE\.grid\[2\]: .*beta",
            {"methods": {"VAE": {"model": "beta_vae", "grid": [{"beta": 1}, {"beta": -1}]}}},
        ),
        (
            r"methods\.VAE\.grid\[1\]: .*did you mean 'beta'",
            {"methods": {"VAE": {"model": "beta_vae", "grid": [{"bet": 1}]}}},
        ),
        (r"methods\.VAE\.model: .*did you mean 'beta_vae'", {"methods": {"VAE": {"model": "betavae"}}}),
        (r"methods\..*did you mean 'mlp'", {"networks": {"n": {"encoder_config": "mpl", "decoder_config": "mlp"}}}),
        ("training: learning_rate must be 0 or more, got -1", {"training": {"learning_rate": -1}}),
        ("training: learning_rate must be a number", {"training": {"learning_rate": "fast"}}),
        ("training: num_train_epochs must be above 0", {"training": {"num_train_epochs": 0}}),
        (
            r"methods\.VAE\.training: learning_rate must be 0 or more, got -1",
            {"methods": {"VAE": {"model": "vae", "training": {"learning_rate": -1}}}},
        ),
        ("training: seed is set by the study itself", {"training": {"seed": 3}}),
        ("training: output_dir is set by the study itself", {"training": {"output_dir": "/tmp/x"}}),
        (
            r"samplers\.m\.training: learning_rate must be 0 or more",
            {"samplers": {"m": {"sampler": "maf", "training": {"learning_rate": -1}}}},
        ),
        (
            r"samplers\.g: 'gaussian_mixture' is not trained",
            {"samplers": {"g": {"sampler": "gaussian_mixture", "training": {"num_train_epochs": 3}}}},
        ),
        ("num_train is 5,000, but 'digits' has 1,397", {"data": {"d": {**DIGITS, "num_train": 5000}}}),
        ("dijits", {"data": {"d": {"dataset": "/nowhere/dijits"}}}),
    ],
)
def test_nothing_runs_with_wrong_values(tmp_path, pattern, changes):
    """What only the plan can check also raises before the folder of the study is written."""
    path = write_study(tmp_path, tiny(**changes))
    with pytest.raises((ValueError, OSError), match=pattern) as caught:
        run_study(path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    if isinstance(caught.value, ValueError):
        assert str(caught.value).startswith(f"{path}: ")
