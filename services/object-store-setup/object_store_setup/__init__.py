"""Makes the bucket of the embedded object store and proves its keys; or tries out a given store."""
