"""What every part needs and none owns: running a command, and waiting for a condition."""
