"""From a study in the tracking store to tables, figures, claims and one page."""
