"""The object store that recordings are in."""
