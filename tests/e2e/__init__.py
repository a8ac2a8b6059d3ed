"""The real processes, driven by real clients."""
