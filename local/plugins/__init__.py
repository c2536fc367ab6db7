"""Pulumi plugins for machines that can have neither an installed nor a downloaded official one.

Two executables that the real engine starts and talks gRPC with: the Python language host and the Kubernetes
provider. `shims` puts them on a PATH; `state` keeps a stack with the plugin that made it.
"""
