"""`make secrets`: creates, replaces and renews a stack's secrets and certificates in its configuration.

A separate program that shares the configuration's classes with the Pulumi program: `python -m stack_secrets
--stack staging`, with `infra` on PYTHONPATH. It needs `pulumi` on PATH, and no cluster.
docs/adr/0025-secrets-in-the-configuration.md says why.
"""
