"""The faces of the cloud: Keystone, Nova, Placement, Prometheus and the fake's own control."""
