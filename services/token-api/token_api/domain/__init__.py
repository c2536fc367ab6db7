"""Decisions without effects: who may what, what follows what, how things are named."""
