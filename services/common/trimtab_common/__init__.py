"""What the services share, in named rooms: domain, store, wire, runtime, openstack, notify."""
