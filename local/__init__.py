"""The embedded default: a toolchain, images and a cluster where only package registries answer.

It hands out a kubeconfig and tools. Nothing outside this package knows how the cluster came to be.
"""
