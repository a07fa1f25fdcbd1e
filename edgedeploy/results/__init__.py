"""Results kept in a database."""
