"""Why a model predicts what it predicts, for one text at a time."""
