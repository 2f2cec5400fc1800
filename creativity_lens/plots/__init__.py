"""Functions that take results and return `plotly.graph_objects.Figure`; they print nothing.

Imports: errors, probes, stats, studies. Any room's results may be passed in.
"""
