"""One file a command; each is that command's whole story."""
