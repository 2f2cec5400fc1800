"""Functions that return Plotly figures."""
