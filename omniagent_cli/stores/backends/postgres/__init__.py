"""Sessions in a schema of a PostgreSQL database."""
