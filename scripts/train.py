"""`gae-hub train` as a script, for launchers that start several processes:

accelerate launch scripts/train.py --model beta_vae --dataset digits
torchrun --nproc_per_node 2 scripts/train.py --model beta_vae --dataset digits
"""

import sys

from gae_hub.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
