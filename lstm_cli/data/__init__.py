"""From labelled text as people have it to the token arrays that a model is fed."""
