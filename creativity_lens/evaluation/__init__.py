"""What texts are held against: a judge, and whether a contrast worked at all.

Imports: errors, stats, models, directions, probes, measures.
"""
