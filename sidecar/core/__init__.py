"""Rules and numbers: no I/O, no clock, no dice, no framework."""
