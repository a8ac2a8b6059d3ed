"""What does it cost, and what survives? Prints figures; asserts nothing."""
