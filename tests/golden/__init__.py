"""Comparisons with numbers of reference implementations, one module per subject.

Each ``check`` takes a file of such numbers and yields a :data:`Difference` per line of its
report.
"""

#: (what, largest difference, tolerance)
Difference = tuple[str, float, float]
