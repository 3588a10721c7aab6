"""What `import lstm_cli` offers: load a model and predict, train from Python, and an estimator for scikit-learn."""
