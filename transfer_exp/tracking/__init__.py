"""MLflow, the record: reaching a tracking store, what is logged of a combination, and where its files lie.

This file is read before any other of the folder, and so before MLflow, which looks at its variables when it is imported.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print an address with the password in it
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # half a minute in all; MLflow's own 7 are four
