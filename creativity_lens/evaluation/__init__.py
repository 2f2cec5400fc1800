"""What texts are held against: people's ratings and choices, judges, and whether a contrast worked.

Imports: errors, io, stats, models, prompts, generation, directions, probes, scoring, measures.
"""
