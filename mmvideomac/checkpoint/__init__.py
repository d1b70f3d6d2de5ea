"""Checkpoints: files, weights out of them, the configs they hold, other libraries' forms."""
