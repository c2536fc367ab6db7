"""A link's delay, jitter and loss by netem, or by a process that tells the kernel when a packet may go on."""
