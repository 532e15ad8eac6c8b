"""The database: connections, migrations, and the SQL as named, described statements."""
