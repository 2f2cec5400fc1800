"""What a user says about steering, turned into hooks.

Imports: errors, io, models, hooks, generation, directions.
"""
