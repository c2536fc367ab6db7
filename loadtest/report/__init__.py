"""What a run shows: while it goes on, at its end, and as files for people and for machines."""
