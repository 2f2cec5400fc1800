"""Linear separability, its cheap rivals and its null.

Imports: errors, stats, directions.
"""
