"""Drives one run: clients, links, actions, samples, and at its end one `RunResult`."""
