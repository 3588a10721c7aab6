"""The entry point of the `lstmcls` command, and of `python -m lstm_cli`."""

from __future__ import annotations

from typing import NoReturn

from lstm_cli.process import guarded


def main() -> NoReturn:
    """Run the command line."""
    guarded(_run)


def _run() -> None:
    from lstm_cli.cli import run

    run()


if __name__ == "__main__":
    main()
