"""What is wrong with labelled text before anyone trains on it: rows in, findings, repairs and suspects out."""
