"""The metrics: arrays of targets and predictions in, frozen scores out."""
