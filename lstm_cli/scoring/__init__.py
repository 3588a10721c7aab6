"""What a trained model does with rows: predictions, evaluation, comparison with baselines, verification."""
