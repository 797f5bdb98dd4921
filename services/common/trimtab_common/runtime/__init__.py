"""What every process needs to run: settings, logs, a gRPC server, channels, errors, a clock."""
