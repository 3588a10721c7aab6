"""Arrays of targets and predictions in, frozen scores out."""
