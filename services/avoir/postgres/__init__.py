"""The database: connections, migrations, rows to core values and back, and the SQL as named statements."""
