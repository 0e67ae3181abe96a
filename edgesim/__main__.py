"""`python -m edgesim` is the `edgesim` command."""

from edgesim.cli import main

main()
