"""What a user says about steering, turned into hooks.

Imports: errors, models, hooks, generation, directions.
"""
