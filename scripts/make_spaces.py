"""Write the folder of each metric, as a Space of the Hub, from one template: python scripts/make_spaces.py."""

from pathlib import Path

import gae_hub.metrics
from gae_hub.metrics.gradio_app import render_space
from gae_hub.metrics.measures import MEASURES

FOLDER = Path(gae_hub.metrics.__file__).parent / "spaces"


def main():
    for name in MEASURES:
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in render_space(name).items():
            (folder / file).write_text(content, encoding="utf-8")
    print(f"{len(MEASURES)} metrics in {FOLDER}")


if __name__ == "__main__":
    main()
