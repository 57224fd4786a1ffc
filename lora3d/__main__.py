"""`python -m lora3d`, which `accelerate launch -m lora3d` calls."""

import sys

from lora3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
