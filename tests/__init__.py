import mmvideomac  # noqa: F401  (its environment guard must run before mmpretrain is imported)
