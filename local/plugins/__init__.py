"""Pulumi plugins for machines that can have neither an installed nor a downloaded official one.

Three executables that the real engine starts and talks gRPC with: the Python language host, the
Kubernetes provider, and the host of dynamic providers (the SDK's own). `shims` puts them on a PATH;
`state` keeps a stack with the plugin that made it.
"""
