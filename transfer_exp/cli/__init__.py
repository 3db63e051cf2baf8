"""The command line: Hydra composes configurations, and each becomes a combination. Nothing else imports Hydra."""
