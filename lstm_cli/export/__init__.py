"""Writes a trained model as a folder that predicts without torch. `lstm_cli.exported` reads it."""
