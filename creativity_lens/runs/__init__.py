"""Long runs that survive being killed: the plan of batches, the store, the executor, the sweep.

Imports: errors, io, models, hooks, prompts, generation, activations, directions, probes,
scoring, steering, measures.
"""
