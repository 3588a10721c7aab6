"""From YAML to one checked config, or to the list of its faults in plain words."""
