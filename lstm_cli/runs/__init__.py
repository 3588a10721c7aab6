"""The folder of a run: its files, checkpoints, lock, and groups of runs."""
