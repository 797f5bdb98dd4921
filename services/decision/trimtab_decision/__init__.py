"""The decision service: thinks, and changes nothing in the cloud."""
