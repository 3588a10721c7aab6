"""From the files of a user to the arrays that a model is trained on."""
