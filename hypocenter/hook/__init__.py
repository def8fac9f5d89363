"""The alert hook: a stage between Alertmanager and its receivers that adds where the failure most likely began."""
