"""The saving_energy strategy."""
