"""Checks of labelled rows before a training: rows in; findings, a repaired copy and suspicious labels out."""
