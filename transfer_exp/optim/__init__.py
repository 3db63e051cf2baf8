"""The optimiser: projections, line search, ascent, implicit gradients."""
