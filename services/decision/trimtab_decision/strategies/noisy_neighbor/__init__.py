"""The noisy_neighbor strategy."""
