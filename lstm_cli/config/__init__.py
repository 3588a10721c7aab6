"""YAML to one checked config, and the faults of one in plain words."""
