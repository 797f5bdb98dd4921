"""The baremetal model's plug-in: machines of Ironic or MaaS."""
