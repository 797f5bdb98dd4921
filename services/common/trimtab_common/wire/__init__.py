"""Models in bytes: protobuf messages, saved files and cluster files, to and from domain records."""
