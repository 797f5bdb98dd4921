"""The `trimtab` command: starts everything, shows it, and speaks to it over gRPC."""
