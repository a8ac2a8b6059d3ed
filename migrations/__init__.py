"""How the database came to its tables, step by step; `sidecar.store.migrate` runs them."""
