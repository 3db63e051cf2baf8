"""Why do adversarial attacks transfer? Surrogates, targets, attacks and the measures that explain them."""

__version__ = "0.1.0"
