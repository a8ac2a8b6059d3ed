"""PostgreSQL: the only SQL in the project, one file a noun."""
