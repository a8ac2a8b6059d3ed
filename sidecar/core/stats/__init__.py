"""What do the numbers say? Pure statistics over sums that add, valid at every look."""
