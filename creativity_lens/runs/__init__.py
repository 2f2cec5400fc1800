"""Long runs that survive being killed: the plan of batches, the store, the executor.

Imports: errors, io.
"""
