"""Linear separability, its rivals and its null."""
