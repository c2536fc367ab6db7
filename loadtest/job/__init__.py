"""Load from inside the cluster: pods of a Job run the engine on a share of the rooms, for one result."""
