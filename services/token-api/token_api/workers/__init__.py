"""What runs in the background: one loop for each task, woken by a bell or by the time."""
