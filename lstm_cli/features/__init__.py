"""What is learned from text without a network: n-grams, linear models."""
