"""Figures: one function each; data and axes in, artist out."""
