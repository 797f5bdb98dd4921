"""Nova's notifications: from RabbitMQ through one table of events to changes of the live model."""
