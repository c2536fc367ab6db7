"""`python -m loadtest.job`: what the image of the load generator runs."""

from loadtest.job.pod import main

main()
