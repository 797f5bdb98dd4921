"""What node_exporter, Ceilometer and Prometheus would know of the cloud's load."""
