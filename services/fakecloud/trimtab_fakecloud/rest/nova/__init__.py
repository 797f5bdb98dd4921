"""Nova's REST API, microversions 2.1 to 2.100, as far as Trimtab calls it."""
