"""The commands of `lstmcls`, one file each."""
