"""What nova-conductor and nova-compute do: servers are made, moved, resized, stopped and deleted."""
