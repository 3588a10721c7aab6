"""`python -m lstm_cli` is `lstmcls`."""

from lstm_cli.cli import main

main()
