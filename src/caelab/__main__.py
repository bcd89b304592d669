"""``python -m caelab``: the command ``caelab``."""

from caelab.cli.main import main

main()
