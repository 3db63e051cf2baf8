"""MLflow, the record: reaching a tracking store, what is logged of a combination, and where its files lie."""
