"""The whole stack on one machine: PostgreSQL, sidecar, proxy, and a laboratory provider."""
