"""Recurrent text classifiers trained on your own labelled text, from one YAML file."""

__version__ = "0.2.0"
