"""`python -m simbank` is `landbridge-simbank`."""

from simbank.cli import main

main()
