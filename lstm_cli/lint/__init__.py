"""What is wrong with labelled rows, found before a training: rows in; findings, a repaired copy and suspects out."""
