"""The rules of credit as plain functions over frozen values: no clock, no database, no framework, no wire names."""
