"""Models of text without a network: hashed n-grams, TF-IDF, logistic regression."""
