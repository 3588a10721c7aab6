"""Reads an exported folder and predicts with it. Nothing here imports torch, scikit-learn or scipy."""
