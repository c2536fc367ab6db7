"""`pulumi-resource-kubernetes`: objects applied server-side, awaited, compared by dry run, and read back.

    server -> resources -> waiting -> cluster   (custom resources: check, diff, create, read, update, delete)
           -> components -> helm, order         (charts and manifests, rendered into custom resources)

Everything that decides (values, paths, differences, immutable, readiness, explain, order) is a pure function
of plain JSON objects; `cluster`, `waiting` and `helm` are the only modules that reach out.
"""
