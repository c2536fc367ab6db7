"""The recording of a run's room: fetched from the bucket, and evaluated by the marker and the tones.

A process of its own (`python -m loadtest.recorded`) does both, because it needs PyAV and botocore. Pods that
make load inside a cluster have neither.
"""
