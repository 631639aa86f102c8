"""`python -m pipeline` is `flywheel`."""

from pipeline.cli.app import main

main()
