"""Write the folders of all metrics in gae_hub.metrics.spaces from templates: python scripts/make_spaces.py."""

from pathlib import Path

from gae_hub.metrics import MEASURES, path
from gae_hub.metrics.spaces.render import render_space


def main():
    for name in MEASURES:
        folder = Path(path(name))
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in render_space(name).items():
            (folder / file).write_text(content, encoding="utf-8")
        print(f"wrote {folder}")


if __name__ == "__main__":
    main()
