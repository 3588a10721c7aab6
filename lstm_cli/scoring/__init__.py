"""A trained model against rows: predictions, evaluation, baselines, verification."""
