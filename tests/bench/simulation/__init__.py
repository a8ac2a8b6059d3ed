"""Do the error rates we promise hold, when many experiments are simulated?

`python -m tests.bench.simulation` runs the product's own statistics, and its own decision
rule, on experiments whose truth is known, and prints each measured rate beside its bound.
"""
