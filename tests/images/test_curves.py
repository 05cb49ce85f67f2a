"""Plots of losses."""

from matplotlib.figure import Figure
from PIL import Image

from gae_hub.images.curves import save_loss_curves


def test_loss_curves_are_written(tmp_path):
    log = [{"epoch": e, "step": e, "loss": 3.0 / e, "kl": 1.0, "learning_rate": 1} for e in (1, 2)]
    save_loss_curves([*log, {"epoch": 2, "step": 2, "eval_loss": 2.0, "eval_kl": 1.0}], tmp_path / "a.png")
    save_loss_curves([], tmp_path / "b.png")
    for value in (0.0, float("inf")):  # a line of zero height, and one that cannot be drawn
        save_loss_curves([{"epoch": k, "step": k, "loss": value} for k in range(3)], tmp_path / "c.png")
    for name in "abc":
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 50


def test_one_plot_per_term_with_training_and_validation(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: figures.append(figure) or path.touch())
    log = [{"epoch": e, "step": e, "loss": 3.0 / e, "kl": 1.0, "learning_rate": 1, "grad_norm": 2} for e in (1, 2)]
    save_loss_curves([*log, {"epoch": 2, "step": 2, "eval_loss": 2.0}], tmp_path / "a.png")
    loss, kl = figures[0].axes
    assert (loss.get_title(), kl.get_title()) == ("loss", "kl")
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert [list(line.get_ydata()) for line in loss.lines] == [[3.0, 1.5], [2.0]]
    assert [list(line.get_ydata()) for line in kl.lines] == [[1.0, 1.0]] and kl.get_ylim() == (0, 2)
    assert [line.get_marker() for line in loss.lines] == ["", "o"]


def test_a_single_epoch_is_drawn_as_points(tmp_path):
    """The picture of one epoch has pixels in the colours of both curves."""
    log = [{"epoch": 1.0, "step": 3, "loss": 3.0}, {"epoch": 1.0, "step": 3, "eval_loss": 2.0}]
    save_loss_curves(log, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as picture:
        below_legend = picture.convert("RGB").crop((0, picture.height // 2, *picture.size))
        whole = picture.convert("RGB")
    counts = {colour: count for count, colour in whole.getcolors(whole.width * whole.height)}
    assert counts[(0x00, 0x72, 0xB2)] > 50 and counts[(0xD5, 0x5E, 0x00)] > 50
    assert (0xD5, 0x5E, 0x00) in dict((colour, n) for n, colour in below_legend.getcolors(10**6))
