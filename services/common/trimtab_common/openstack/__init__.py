"""The cloud's APIs as narrow clients that answer immutable records, through openstacksdk."""
