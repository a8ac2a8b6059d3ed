"""The `signalops` command: calls the admin API, prints tables."""
