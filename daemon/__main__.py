"""`python -m daemon` is `landbridge`."""

from daemon.cli import main

main()
