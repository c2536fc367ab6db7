"""What the service remembers: tables, how they are reached, how they change from version to version."""
