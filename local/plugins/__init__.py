"""Plugins that Pulumi's engine starts for this project if no official plugin is installed.

`language_python` is our own Python language host. `shims` puts it on a PATH. The Kubernetes provider is the
official one: see `local/toolchain/kubernetes_provider.py`.
"""
