"""The Pulumi program: configuration -> components -> outputs.

`config*` and `ports` decide what is wanted, `values/` computes what the charts and servers are given (pure
functions), `components/` creates resources, `platform` wires them. Nothing here knows how the cluster came
to be.
"""
