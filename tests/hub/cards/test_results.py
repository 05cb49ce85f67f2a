"""Results of a model: in the card's table and in its model-index."""

from cases import VAE
from huggingface_hub import ModelCard

from gae_hub.hub.cards.results import record_results


def test_results_become_the_model_index(tmp_path):
    model = VAE.build()
    model.facts = {"results": {"dataset": "user/data", "split": "test", "metrics": {"mse": 0.25}}}
    model.save_pretrained(tmp_path)
    result = ModelCard.load(tmp_path / "README.md").data.eval_results[0]
    assert (result.dataset_name, result.dataset_split, result.metric_type, result.metric_value) == (
        "user/data",
        "test",
        "mse",
        0.25,
    )
    text = (tmp_path / "README.md").read_text()
    assert "| mse | 0.25 |" in text and "On the test split of `user/data`:" in text


def test_passports_are_in_the_table_and_in_the_model_index(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    results = {
        "dataset": "user/data",
        "split": "test",
        "num_samples": 10,
        "seed": 0,
        "metrics": {"fid": 12.5, "mse": 1.0},
    }
    passport = {"extractor": "user/inception", "sha256": "abc", "num_samples": 10}
    record_results(model, tmp_path, {**results, "passports": {"fid": passport}})
    card = ModelCard.load(tmp_path / "README.md")
    assert "| fid | 12.5 | extractor user/inception, sha256 abc, num samples 10 |" in card.text
    assert "| mse | 1 |  |" in card.text
    by_name = {result.metric_type: result for result in card.data.eval_results}
    assert by_name["fid"].metric_args == passport and by_name["mse"].metric_args is None


def test_a_passport_in_the_table_is_short(tmp_path):
    """Checksums are cut, settings are options, and the interval has its own column; results.json has the rest."""
    passport = {
        "metric": "fid",
        "settings": {"interval": True, "extrapolate": False},
        "extractor_sha256": "0123456789abcdef" * 4,
        "extractor_training": {"dataset": "digits", "num_train_examples": 1397, "accuracy": None},
        "num_samples": 10,
        "biased_by": ["num_samples"],
        "seed": None,
        "standard_error": 0.123456,
        "interval": [11.25, 13.75],
        "details": {"long": [1] * 100},
    }
    model = VAE.build()
    model.save_pretrained(tmp_path)
    results = {
        "dataset": "user/data",
        "split": "test",
        "metrics": {"fid": 12.5, "mse": 1},
        "passports": {"fid": passport, "mse": {"same_count_interval": [0.5, 1.5], "refit_std": 0.25}},
    }
    record_results(model, tmp_path, results)
    text = (tmp_path / "README.md").read_text()
    assert "| metric | value | 95 % interval | measured with |\n|---|---|---|---|\n" in text
    assert (
        "| fid | 12.5 | 11.25 to 13.75 | interval=True, extrapolate=False, extractor sha256 0123456789ab…, "
        "extractor's dataset digits, extractor's accuracy unknown, num samples 10 |\n"
        "| mse | 1 | 0.5 to 1.5 for as many images | refit std 0.25 |\n"
    ) in text
