"""The storage model's plug-in: how Cinder becomes nodes, pools and volumes."""
