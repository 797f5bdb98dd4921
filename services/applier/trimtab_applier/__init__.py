"""The applier: carries out action plans; the only service that changes the cloud."""
