"""The shared core of the compute strategies: eligibility, resource dimensions, packing, search."""
