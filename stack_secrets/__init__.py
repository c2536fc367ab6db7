"""`make secrets`: creates, replaces and renews a stack's secrets and certificates in its configuration.

This is a separate program that shares the configuration's classes with the Pulumi program: `python -m
stack_secrets --stack staging`, with `infra` on PYTHONPATH. It needs `pulumi` on PATH, but no cluster.
docs/adr/0025-secrets-in-the-configuration.md explains the reasons.
"""
