"""Start a Space from its own requirements.txt in an empty environment, and ask it for one image.

python tests/space_environment.py FOLDER [--build build/space-environment]

FOLDER is a Space that `gae-hub space MODEL --output_dir FOLDER` wrote. gae_hub itself is installed from a wheel of
this checkout, since a version under development is on no index. Arguments after `--` go to pip, such as
`-- --find-links wheels`.
"""

import argparse
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUEST = """
import sys
from gradio_client import Client
images = Client(sys.argv[1], verbose=False).predict("prior", 0, 1, api_name="/sample")["images"]
assert images[0].startswith("data:image/png;base64,")
print("answered")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "space-environment")
    parser.add_argument("pip", nargs="*")
    args = parser.parse_args()
    wheels, environment = (args.build / "wheels").resolve(), (args.build / "venv").resolve()
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    venv.create(environment, clear=True, with_pip=True)
    python = environment / "bin" / "python"
    requirements = (args.folder / "requirements.txt").resolve()
    install = [str(python), "-m", "pip", "install", "--quiet", "--find-links", str(wheels), *args.pip]
    subprocess.run([*install, "-r", str(requirements)], check=True)
    process = subprocess.Popen(
        [str(python), "app.py"],
        cwd=args.folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(args.build.resolve()),
            "HF_HUB_OFFLINE": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                subprocess.run([str(python), "-c", REQUEST, address[0]], check=True)
                return 0
        print("".join(lines))
        return 1
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
