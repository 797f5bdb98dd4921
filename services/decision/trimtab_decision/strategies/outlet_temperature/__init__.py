"""The outlet_temperature strategy."""
