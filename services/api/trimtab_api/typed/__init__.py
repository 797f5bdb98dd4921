"""The typed gRPC services, over the same use cases as the REST core."""
