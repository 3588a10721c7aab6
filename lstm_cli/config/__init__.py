"""From YAML to one checked config, or to a list of all its faults in plain words."""
